# Called with the private folder, the engine's control group or nothing, and the process groups to begin with.
# Reads lines `+ GROUP` and `- GROUP` until the pipe ends. Then it kills the groups that are left, all that is in the
# control group, and what has left both but bears the engine's mark.
trap '' HUP INT QUIT TERM
folder=$1
control=$2
mark=${folder##*/axion-}
shift 2
groups=" $* "
while read -r what group; do
    case $what in
        +) groups="$groups$group " ;;
        -) case $groups in
               *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
           esac ;;
    esac
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
if [ -n "$control" ]; then
    echo 1 > "$control/cgroup.kill"
fi
# A daemon may fork and end between the listing and the look at it: those that have come since are looked at, until there
# is none. Their numbers may be lower: they begin again when the highest was given.
seen=" "
passes=0
while [ "$passes" -lt 1000 ]; do
    passes=$((passes + 1))
    new=
    for file in /proc/[0-9]*/environ; do
        case $seen in
            *" $file "*) ;;
            *) new="$new $file" ;;
        esac
    done
    if [ -z "$new" ]; then break; fi
    seen="$seen$new "
    for file in $(grep -lsE "AXION_WORKER=([^ ]* )*$mark:" $new); do
        pid=${file#/proc/}
        kill -s KILL "${pid%/environ}"
    done
done
rm -rf -- "$folder"
if [ -n "$control" ]; then
    # A group can be removed when its processes have ended.
    passes=0
    while [ -d "$control" ] && [ "$passes" -lt 100 ]; do
        passes=$((passes + 1))
        rmdir "$control"/*/*/*/ "$control"/*/*/ "$control"/*/ "$control" && break
        sleep 0.01
    done
fi
