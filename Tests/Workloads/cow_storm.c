// The storm of precopy_storm.c, saved by a copy-on-write child.
// @cases words huge file refault kernel discard remap regrow protect mix
// @launch --snapshot cow
// @runs resume3 restart1 restart3 abort1
// @limit 120
#include "precopy_storm.c"
