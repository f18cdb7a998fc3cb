#!/usr/bin/env bash
# A real Slurm on this machine alone, to try `launcher=slurm` and for the tests. As root:
#
#   apt-get install -y --no-install-recommends slurm-wlm munge slurmdbd mariadb-server    # once
#   scripts/slurm_local.sh start [NODES [CPUS [MEGABYTES]]]     2 nodes of 1 CPU and 4096 MB
#   eval "$(scripts/slurm_local.sh env)"                        then sbatch, squeue, sacct, ...
#   scripts/slurm_local.sh stop
#
# `start` starts what is not running yet, so it also brings back a node that was killed. Partition
# `main` is the default; jobs in `urgent` preempt those in it, which Slurm puts back into the queue, and
# those in `spare`, which it ends at once.
# CPUs and memory are what Slurm shares out; neither is checked or enforced. There is accounting,
# since submitit learns from it alone that a job was killed. All listens on 127.0.0.1.
#
# Everything lies below SLURM_LOCAL_DIR (default: /tmp/slurm-local); another folder is another
# cluster, on other ports.
set -euo pipefail

export SLURM_LOCAL_DIR=${SLURM_LOCAL_DIR:-/tmp/slurm-local}
DIR=$SLURM_LOCAL_DIR
export SLURM_CONF=$DIR/slurm.conf
NAME_SUM=$(printf %s "$DIR" | cksum | cut -d' ' -f1)
PORT=$((12000 + NAME_SUM % 1000 * 20))  # below the ports that a kernel gives out

fail() {
  echo "slurm_local: $*" >&2
  exit 1
}

# pid_of NAME: of the process started under this name, while it lives. Pids are given out again, so
# its environment has to name this folder.
pid_of() {
  local pid
  pid=$(cat "$DIR/run/$1" 2>/dev/null) || return 1
  { tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null | grep -qxF "SLURM_LOCAL_DIR=$DIR" && echo "$pid"
}

# launch NAME COMMAND...: in the background, unless it runs already
launch() {
  local name=$1
  shift
  ! pid_of "$name" >/dev/null || return 0
  setsid "$@" >>"$DIR/log/$name" 2>&1 </dev/null &
  echo $! >"$DIR/run/$name"
}

# await WHAT COMMAND...: until it succeeds
await() {
  local what=$1 tries
  shift
  for ((tries = 0; tries < 300; tries++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  tail -n 5 "$DIR"/log/* >&2
  fail "$what did not come up within a minute"
}

database() { mariadb --no-defaults --socket="$DIR/database.sock" --user=root "$@"; }
nodes_up() { [ "$(sinfo -h -N -p main -t idle,mixed,allocated -o %N | sort -u | wc -l)" = "$1" ]; }

write_settings() {
  local nodes=$1 cpus=$2 memory=$3 password node
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  umask 077
  head -c 1024 /dev/urandom >"$DIR/munge/key"
  cat >"$DIR/database.sql" <<END
create database if not exists slurm_acct_db;
create or replace user slurm@'127.0.0.1' identified by '$password';
grant all on slurm_acct_db.* to slurm@'127.0.0.1';
END
  cat >"$DIR/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 1))
SlurmUser=root
PidFile=$DIR/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 2))
StorageUser=slurm
StoragePass=$password
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
END
  umask 022
  cat >"$DIR/slurm.conf" <<END
ClusterName=local
SlurmUser=root
SlurmdUser=root
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$PORT
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd-%n.pid
SlurmdSpoolDir=$DIR/spool/%n
StateSaveLocation=$DIR/state
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=$DIR/munge/socket
JobAcctGatherType=jobacct_gather/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=$((memory / cpus))
SchedulerParameters=bf_interval=2,sched_min_interval=200000,batch_sched_delay=1
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
KillWait=1
END
  for ((node = 1; node <= nodes; node++)); do
    echo "NodeName=node$node NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$((PORT + 2 + node))" \
      "CPUs=$cpus RealMemory=$memory State=UNKNOWN"
  done >>"$DIR/slurm.conf"
  cat >>"$DIR/slurm.conf" <<END
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20
PartitionName=spare Nodes=ALL PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
END
}

start() {
  local program node
  [ "$(id -u)" = 0 ] || fail "only root can start it"
  for program in munged mariadbd slurmdbd slurmctld slurmd; do
    command -v $program >/dev/null ||
      fail "no $program: apt-get install -y --no-install-recommends slurm-wlm munge slurmdbd mariadb-server"
  done
  [ -e "$DIR/.slurm_local" ] || [ -z "$(ls -A "$DIR" 2>/dev/null)" ] || fail "$DIR holds something else"
  mkdir -p "$DIR"/{log,munge,run,spool,state}
  touch "$DIR/.slurm_local"
  chmod 755 "$DIR" "$DIR/munge"
  [ -e "$SLURM_CONF" ] || write_settings "${1:-2}" "${2:-1}" "${3:-4096}"

  launch munged munged --foreground --force --key-file="$DIR/munge/key" \
    --socket="$DIR/munge/socket" --pid-file="$DIR/munge/pid" --seed-file="$DIR/munge/seed" \
    --log-file="$DIR/log/munge"
  await munge munge -n -S "$DIR/munge/socket"

  [ -d "$DIR/database" ] || mariadb-install-db --no-defaults --user=root --skip-test-db \
    --datadir="$DIR/database" >"$DIR/log/install"
  launch mariadbd mariadbd --no-defaults --user=root --datadir="$DIR/database" \
    --socket="$DIR/database.sock" --pid-file="$DIR/database.pid" --bind-address=127.0.0.1 \
    --port=$((PORT + 2)) --skip-name-resolve
  await MariaDB database -e "source $DIR/database.sql"
  launch slurmdbd slurmdbd -D
  await slurmdbd timeout 5 sacctmgr -n list cluster

  launch slurmctld slurmctld -D
  await slurmctld scontrol ping
  local names
  mapfile -t names < <(sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$SLURM_CONF")
  for node in "${names[@]}"; do launch "slurmd-$node" slurmd -D -N "$node"; done
  await "all of ${names[*]}" nodes_up "${#names[@]}"
  echo "Slurm $(sinfo -V | cut -d' ' -f2) runs. Now: eval \"\$($0 env)\""
}

stop() {
  local name pid tries
  [ -e "$DIR/.slurm_local" ] || fail "nothing was started below $DIR"
  if pid_of slurmctld >/dev/null; then
    scancel -Q --me || true  # of this cluster: SLURM_CONF names it
    for ((tries = 0; tries < 60; tries++)); do
      [ -n "$(squeue -h 2>/dev/null)" ] || break
      sleep 0.2
    done
  fi
  for name in $(cd "$DIR/run" && ls -d slurmd-* slurmctld slurmdbd mariadbd munged 2>/dev/null); do
    pid=$(pid_of "$name") || continue
    kill "$pid" || true
    for ((tries = 0; tries < 50; tries++)); do
      pid_of "$name" >/dev/null || break
      sleep 0.1
    done
    if pid_of "$name" >/dev/null; then kill -KILL "$pid" || true; fi
  done
  rm -rf "$DIR"
}

case ${1:-} in
  start) start "${@:2}" ;;
  stop) stop ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit 2
    ;;
esac
