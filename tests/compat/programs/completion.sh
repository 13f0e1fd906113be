# title: bash with bash-completion, and as an interactive shell
# needs: bash /usr/share/bash-completion/bash_completion
# packages: bash bash-completion
# version: bash --version
# processes: bash
# quick: yes
cat > complete.bash <<'END'
source /usr/share/bash-completion/bash_completion
complete_line() {
  COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
  read -ra COMP_WORDS <<< "$1"
  [[ $1 != *' ' ]] || COMP_WORDS+=('')
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  local program=${COMP_WORDS[0]}
  _completion_loader "$program" 2> /dev/null
  local how; how=$(complete -p "$program") && how=${how##*-F } && how=${how%% *}
  "$how" "$program" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2> /dev/null
  echo "$1: ${COMPREPLY[*]:0:12}"
}
mkdir -p folder/of/files && touch folder/{one,two,three}.tar
for line in 'tar --ext' 'tar -xf folder/t' 'find . -na' 'ssh -o Strict' 'grep --inc' 'cd fol' 'xz --ke' 'sed --'; do
  complete_line "$line"
done
END
bash --norc complete.bash
PS1='' bash --norc --noprofile -i 2> /dev/null <<'END'
shopt -s extglob; a=(one two three); echo "${a[@]:1}" "${#a[@]}"; compgen -A function | head -n 1
declare -A map; for i in {1..5000}; do map[$i]=$((i * i)); done; echo ${#map[@]} ${map[77]}
history | wc -l; set -o | md5sum; sleep 0.1 & wait %1; echo $?; fc -l 2> /dev/null | wc -l
END
