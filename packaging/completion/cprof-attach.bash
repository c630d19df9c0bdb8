# bash completion for cprof-attach. Options are read from --help, so they are always those of the program that is installed.

_cprof_attach_commands="check dump ps report symbolize top"

_cprof_attach() {
	local cur prev words cword command=
	_init_completion -n = || return
	case ${words[1]-} in
	check | dump | ps | report | symbolize | top) command=${words[1]} ;;
	esac
	# Behind -- stands another program's command line.
	local i
	for ((i = 1; i < cword; i++)); do
		if [[ ${words[i]} == -- ]]; then
			_command_offset $((i + 1))
			return
		fi
	done
	case $prev in
	-p | --pid)
		_pids
		return
		;;
	-n | --name)
		_pnames
		return
		;;
	-e | --event)
		mapfile -t COMPREPLY < <(compgen -W "cpu state" -- "$cur")
		return
		;;
	-f | --format)
		mapfile -t COMPREPLY < <(compgen -W "pprof flamegraph folded speedscope text json" -- "$cur")
		return
		;;
	--unwinder)
		mapfile -t COMPREPLY < <(compgen -W "rows libunwind both" -- "$cur")
		return
		;;
	-o | --output | --debuginfo-path)
		_filedir
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_parse_help "$1" "$command --help")" -- "$cur")
		return
	fi
	case $command in
	report | symbolize)
		_filedir
		;;
	check | dump | top)
		_pids
		;;
	'')
		_pids
		if ((cword == 1)); then
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$_cprof_attach_commands" -- "$cur")
		fi
		;;
	esac
} && complete -F _cprof_attach cprof-attach
