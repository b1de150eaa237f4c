# Run every line of a file as a shell command, as many at once as the batch system likes.
#
#   jobtree run --jobTree list.jt --command "awk -f $PWD/commands.awk $PWD/list.txt JOB_FILE"
#
# The smallest use of a JOB_FILE: each command becomes a <child>; plain="1" says that the command
# itself knows nothing of JOB_FILE. Empty lines and lines that begin with # are left out.

function escaped(text) {
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    gsub(/"/, "\\&quot;", text)
    return text
}

FILENAME == ARGV[1] {
    if ($0 !~ /^[ \t]*(#|$)/)
        children = children "<child plain=\"1\" command=\"" escaped($0) "\"/>\n"
    next
}

{ job = job $0 "\n" }

END {
    at = index(job, "<children/>")
    if (!at) {
        print "there is no <children/> in the JOB_FILE" > "/dev/stderr"
        exit 1
    }
    print substr(job, 1, at - 1) "<children>" children "</children>" \
        substr(job, at + length("<children/>")) > ARGV[2]
}
