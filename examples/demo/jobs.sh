# Sourced by run.sh, which starts trainings: what it starts ends with it.
#
#   stop_when_told                        Ctrl-C or a SIGTERM ends the script and all its jobs
#   run_job COMMAND [ARGUMENT...]         runs a job and gives its exit status
#   in_background COMMAND [ARGUMENT...]   starts a job; its process ID is in $!
#   stop_jobs                             ends all jobs, with everything that they started
#
# bash has background commands ignore Ctrl-C, and a signal to a job does not reach the programs in
# it, so a training would live on and write into the folder of the one that replaces it. Hence a
# process group for each job. A signal to the script waits for its foreground command to end, but
# not for a job: hence `run_job`.

stop_when_told() {
  trap 'stop_jobs; echo "$0: interrupted; run the same command again to go on" >&2; exit 130' INT TERM
}

run_job() {
  in_background "$@"
  wait "$!"
}

in_background() {
  set -m
  "$@" </dev/null &
  set +m
}

stop_jobs() {
  local job jobs
  jobs=$(jobs -p)
  for job in $jobs; do kill -TERM -- "-$job" 2>/dev/null || true; done
  for job in $jobs; do
    wait "$job" 2>/dev/null || true
    # The script of the job is gone; what it was running may need another moment.
    for _ in {1..20}; do
      kill -0 -- "-$job" 2>/dev/null || continue 2
      sleep 0.1
    done
    kill -KILL -- "-$job" 2>/dev/null || true
  done
}
