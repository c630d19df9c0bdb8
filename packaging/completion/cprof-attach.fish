# fish completion for cprof-attach. Options are read from --help, so they are always those of the program that is installed.

set -l commands check dump ps report symbolize top

function __cprof_attach_options
    set -l words (commandline -opc)
    set -l command
    if contains -- "$words[2]" check dump ps report symbolize top
        set command $words[2]
    end
    # "  -p, --pid PID   what it means"; columns are two or more spaces apart.
    $words[1] $command --help 2>/dev/null | string match -r '^ +(?:-\w, )?--[-a-z]+.*' | while read -l line
        set -l parts (string match -r '^ *(?:(-\w), )?(--[-a-z]+)(?: [A-Z|a-z]+)? *(.*)' -- $line)
        printf '%s\t%s\n' $parts[3] $parts[4]
        test -n "$parts[2]"; and printf '%s\t%s\n' $parts[2] $parts[4]
    end
end

complete -c cprof-attach -f
complete -c cprof-attach -n "not __fish_seen_subcommand_from $commands" -a check -d 'Say whether a process can be profiled, and what is in the way'
complete -c cprof-attach -n "not __fish_seen_subcommand_from $commands" -a dump -d 'The stack of every thread, as text'
complete -c cprof-attach -n "not __fish_seen_subcommand_from $commands" -a ps -d 'Processes that can be profiled'
complete -c cprof-attach -n "not __fish_seen_subcommand_from $commands" -a report -d 'Show a profile as text, flame graph or in other formats'
complete -c cprof-attach -n "not __fish_seen_subcommand_from $commands" -a symbolize -d 'Name the frames of a profile with debug files'
complete -c cprof-attach -n "not __fish_seen_subcommand_from $commands" -a top -d 'The hottest functions, live'
complete -c cprof-attach -n "__fish_seen_subcommand_from report symbolize" -F
complete -c cprof-attach -n "not __fish_seen_subcommand_from ps report symbolize" -a '(__fish_complete_pids)'
complete -c cprof-attach -n 'string match -q -- "-*" (commandline -ct)' -a '(__cprof_attach_options)'
complete -c cprof-attach -s o -l output -l debuginfo-path -r -F
complete -c cprof-attach -s e -l event -x -a 'cpu state'
complete -c cprof-attach -s f -l format -x -a 'pprof flamegraph folded speedscope text json'
complete -c cprof-attach -l unwinder -x -a 'rows libunwind both'
