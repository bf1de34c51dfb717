! Writes to a unit while it computes, then reads everything back.
program unit
    implicit none
    integer, parameter :: wide = selected_int_kind(18)
    integer :: round, rounds, step, status
    integer(wide) :: state, sum, value
    real :: scale
    character(len=32) :: text
    call get_environment_variable("SCALE", text, status=status)
    scale = 1.0
    if (status == 0) read (text, *) scale
    rounds = int(400 * scale)
    state = 1
    print '(a)', "START"
    flush (6)
    open (unit=17, file="unit.txt", status="replace", action="readwrite")
    do round = 1, rounds
        do step = 1, 400000
            state = mod(state * 48271_wide, 2147483647_wide)
        end do
        write (17, '(i8, 1x, i20)') round, state
    end do
    rewind (17)
    sum = 0
    do round = 1, rounds
        read (17, '(i8, 1x, i20)') step, value
        if (step /= round) print '(a, i8)', "FAIL line ", round
        sum = sum + value
    end do
    close (17)
    print '(a, i20)', "RESULT ", sum
end program unit
