# Hashes, regular expressions, a file.
use strict;
use warnings;
my $scale = $ENV{SCALE} || 1;
my ($state, %seen) = (1);
$| = 1;
print "START\n";
for my $round (1 .. 600000 * $scale) {
    $state = ($state * 48271) % 2147483647;
    my $key = sprintf "%x", $state % 5003;
    $key =~ s/([a-f])/<$1>/;
    $seen{$key} += $state;
}
my $sum = 0;
$sum = ($sum + $seen{$_} * length) % 1000000007 for sort keys %seen;
print "RESULT $sum ", scalar(keys %seen), "\n";
