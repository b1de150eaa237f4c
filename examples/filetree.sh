#!/bin/sh
# Count the files, lines and bytes below a directory: a job for each directory.
#
#   jobtree run --jobTree tree.jt --command "sh $PWD/filetree.sh /usr/include $PWD/counts.txt JOB_FILE"
#
# RESULT will have one line: directories, files, lines, bytes. Symbolic links are not followed.
#
# This is the JOB_FILE protocol by hand: a step finds XML in JOB_FILE, adds a <child> for each
# subdirectory and sets a follow-on, which sums what all of them left. A step is told which
# directory to count in a file, HERE.dir, as a file's name may be anything and XML may not.
set -eu

# ---- the JOB_FILE ------------------------------------------------------------------------

quoted() { # a word for the shell that runs the command
  printf "'%s'" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")"
}

escaped() { # text for an attribute in XML
  printf '%s\n' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'
}

attribute() { # the value of attribute $1 of the <job> in JOB_FILE
  sed -n "s/.*<job[^>]* $1=\"\([^\"]*\)\".*/\1/p" "$JOB_FILE" |
    sed 's/&quot;/"/g; s/&gt;/>/g; s/&lt;/</g; s/&amp;/\&/g'
}

command_of() { # the command that runs a step of this script, in XML
  mode=$1 here=$2
  escaped "sh $(quoted "$0") $mode $(quoted "$here") JOB_FILE"
}

grow() { # set the follow-on $1, and have the children that are in the file $2
  job=$(cat "$JOB_FILE")
  {
    printf '%s' "${job%%<job*}"
    printf '<job command="%s" time="600" memory="200M"' "$1"
    rest=${job#*<job}
    printf '%s<children>' "${rest%%<children/>*}"
    cat "$2"
    printf '</children>%s\n' "${rest#*<children/>}"
  } >"$JOB_FILE.new"
  mv "$JOB_FILE.new" "$JOB_FILE"
}

child() { # an element for a child that counts $1
  printf '<child command="%s" time="600" memory="200M"/>\n' "$(command_of --count "$1")"
}

# ---- the steps ---------------------------------------------------------------------------

start() { # DIRECTORY RESULT: count it all, then put the sum in its place
  here=$(attribute global_temp_dir)/all
  printf '%s\n' "$(cd -- "$1" && pwd)" >"$here.dir"
  printf '%s\n' "$2" >"$here.result"
  child "$here" >"$here.children"
  grow "$(command_of --finish "$here")" "$here.children"
}

count() { # HERE: count the files in one directory; a child for each directory in it
  here=$1
  read_path "$here.dir"
  shared=$(attribute global_temp_dir)
  find "$path/." ! -name . -prune -type f -exec printf '%.0sx' {} + >"$LOCAL/files"
  find "$path/." ! -name . -prune -type f -exec cat {} + >"$LOCAL/content"
  printf '1 %d %d %d\n' "$(wc -c <"$LOCAL/files")" $(wc -lc <"$LOCAL/content") >"$shared/own.out.new"
  mv "$shared/own.out.new" "$shared/own.out"
  number=0
  : >"$LOCAL/children"
  for directory in "$path"/*/ "$path"/.[!.]*/ "$path"/..?*/; do
    directory=${directory%/}
    if [ -d "$directory" ] && [ ! -L "$directory" ]; then
      number=$((number + 1))
      printf '%s\n' "$directory" >"$shared/$number.dir"
      child "$shared/$number" >>"$LOCAL/children"
    fi
  done
  grow "$(command_of --sum "$here")" "$LOCAL/children"
}

sum() { # HERE: add up what is in the directory that this step shares with `count`
  shared=$(attribute global_temp_dir)
  expected=$(find "$shared/." ! -name . -prune -name '*.dir' | wc -l)
  find "$shared/." ! -name . -prune -name '*.out' -exec cat {} + |
    awk -v expected="$((expected + 1))" '
      { directories += $1; files += $2; lines += $3; bytes += $4 }
      END { printf "%.0f %.0f %.0f %.0f\n", directories, files, lines, bytes; exit NR != expected }
    ' >"$1.out.new"
  mv "$1.out.new" "$1.out"
}

finish() { # HERE: put the sum in its place
  read_path "$1.result"
  cp "$1.out" "$path.new"
  mv "$path.new" "$path"
}

read_path() { # set `path` to what is in the file $1, up to the newline that ends it
  path=$(cat "$1"; echo .)
  path=${path%??}
}

# ---- which step it is --------------------------------------------------------------------

if [ $# != 3 ]; then
  echo "usage: jobtree run --command 'sh filetree.sh DIRECTORY RESULT JOB_FILE' --jobTree DIR" >&2
  exit 2
fi
JOB_FILE=$3
LOCAL=$(attribute local_temp_dir)
case $1 in
  --count) count "$2" ;;
  --sum) sum "$2" ;;
  --finish) finish "$2" ;;
  *) start "$1" "$2" ;;
esac
