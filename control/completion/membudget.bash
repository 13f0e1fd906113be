# bash completion for membudget(1). Commands and options are taken from its own --help.
# shellcheck shell=bash disable=SC2207  # candidates are split at blanks and lines: that is what compgen prints

_membudget_commands() {
  membudget --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z]*\) .*/\1/p'
}

_membudget_options() {
  membudget ${1:+"$1"} --help 2>/dev/null | grep -oE '^ +(-[a-z],)?--?[a-z-]+' | tr -d ' ' | tr ',' '\n'
}

_membudget_targets() {
  membudget ls --json 2>/dev/null | sed -n 's/^    "\(name\|pid\)": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\2/p' | sort -u
}

_membudget() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "$(_membudget_commands) --help --library --version" -- "$word"))
    return
  fi
  for ((i = 2; i < COMP_CWORD; ++i)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then # the rest is another command's
      if declare -F _command_offset >/dev/null; then
        _command_offset $((i + 1))
      else
        COMPREPLY=($(compgen -c -f -- "$word"))
      fi
      return
    fi
  done
  case $before in
    --allocator | --allocators) COMPREPLY=($(compgen -f -W 'ptmalloc jemalloc mimalloc tcmalloc' -- "$word")) ;;
    --measure) COMPREPLY=($(compgen -W 'counted footprint' -- "$word")) ;;
    --children) COMPREPLY=($(compgen -W 'join own ignore' -- "$word")) ;;
    --pythonmalloc) COMPREPLY=($(compgen -W 'auto malloc keep' -- "$word")) ;;
    --log) COMPREPLY=($(compgen -W 'quiet warn info' -- "$word")) ;;
    --level) COMPREPLY=($(compgen -W 'none low medium critical' -- "$word")) ;;
    --sort) COMPREPLY=($(compgen -W 'counted share live rss pid name' -- "$word")) ;;
    --into) COMPREPLY=($(compgen -W "$(_membudget_targets)" -- "$word")) ;;
    --dir) COMPREPLY=($(compgen -d -- "$word")) ;;
    -o | --output) COMPREPLY=($(compgen -f -- "$word")) ;;
    *)
      if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$(_membudget_options "$command") --" -- "$word"))
      else
        case $command in
          show | watch | wait | set | trim | profile) COMPREPLY=($(compgen -W "$(_membudget_targets)" -- "$word")) ;;
          run) COMPREPLY=($(compgen -c -- "$word")) ;;
        esac
      fi
      ;;
  esac
}

complete -o filenames -F _membudget membudget
