#!/bin/bash
# mpi_tcp.sh KIND RING: two ranks over TCP alone. The result goes through a file, START through the launcher.
case $1 in
mpich) # MPI_Finalize of Debian's MPICH 4.0.2 often hangs over TCP, without SwiftCP too: the ranks end by MPI_Abort.
    export UCX_TLS=tcp,self UCX_NET_DEVICES=lo RING_ABORTS=1
    ;;
openmpi) # By itself each job takes the host's ports from 1024 on: one that is restarted would find those of its
    # connections taken by another job that has begun meanwhile. So each has ports of its own here.
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    export OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=lo
    export OMPI_MCA_btl_tcp_port_min_v4=$((10000 + $$ % 700 * 32)) OMPI_MCA_btl_tcp_port_range_v4=32
    export OMPI_MCA_btl_tcp_port_min_v6=$OMPI_MCA_btl_tcp_port_min_v4 OMPI_MCA_btl_tcp_port_range_v6=32
    ;;
esac
RING_RESULT=ring.txt "mpiexec.$1" -n 2 "$2" 2> ring.log || { echo "FAIL status $?: $(tail -n 5 ring.log)"; exit 1; }
cat ring.txt
