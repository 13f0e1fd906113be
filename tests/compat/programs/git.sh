# title: git: clone, fsck, gc, repack, blame and log of this repository
# needs: git
# packages: git
# version: git --version
# processes: git
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
git -C "$SOURCE" rev-parse --git-dir > /dev/null 2>&1 || { echo "the sources are no git repository" >&2; exit 77; }
git clone -q --no-local --bare "$SOURCE" repo.git && git clone -q repo.git tree && cd tree
git fsck --full --strict --no-progress
git gc -q --prune=now && git count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
git repack -q -a -d -f --window=15 --threads=2 && git fsck --connectivity-only --no-progress
git log --stat --format='%H %s' -n 60 | md5sum
git log -p -n 40 | md5sum
git blame README.md | md5sum
git grep -n -E 'budget_[a-z]+' | md5sum
git archive HEAD | md5sum
git bundle create -q ../all.bundle --all && git bundle verify -q ../all.bundle && echo "the bundle is good"
git worktree add -q ../side HEAD~1 && git -C ../side status --short | wc -l
