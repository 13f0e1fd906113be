# title: Go: goroutines and maps; linked statically, and with cgo
# needs: go gcc
# packages: golang-go gcc libc6-dev
# version: go version
# processes: job-cgo
# uncounted: job-static
# timeout: 600
# note: Go's own heap does not come from malloc: what cgo allocates is counted, a statically linked program not at all.
mkdir src && cd src  # Go takes no module from TMPDIR itself
cat > job.go <<'END'
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os/exec"
	"sort"
	"sync"
)

func main() {
	var wait sync.WaitGroup
	results := make([]string, 8)
	for i := range results {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			m := map[int]string{}
			for j := 0; j < 50000; j++ {
				m[j*7919%10007] = fmt.Sprint(i, j)
			}
			keys := []int{}
			for k := range m {
				keys = append(keys, k)
			}
			sort.Ints(keys)
			text, _ := json.Marshal(m)
			results[i] = fmt.Sprintf("%d %x", len(keys), sha256.Sum256(text))
		}(i)
	}
	wait.Wait()
	fmt.Println(results, native())
	out, err := exec.Command("sh", "-c", "seq 1000 | md5sum").Output()
	fmt.Println(string(out), err)
}
END
cat > cgo.go <<'END'
//go:build cgo

package main

// #include <stdlib.h>
// #include <string.h>
// static long fill(int n) { long sum = 0; for (int i = 1; i < n; i++) { char *p = malloc(i % 999 + 1); memset(p, 3, 1); sum += *p; free(p); } return sum; }
import "C"
import "sync"

func native() (sum int) {
	var wait sync.WaitGroup
	parts := make([]int, 6)
	for i := range parts {
		wait.Add(1)
		go func(i int) { defer wait.Done(); for j := 0; j < 20; j++ { parts[i] += int(C.fill(5000)) } }(i)
	}
	wait.Wait()
	for _, part := range parts { sum += part }
	return sum
}
END
printf '//go:build !cgo\n\npackage main\n\nfunc native() int { return 0 }\n' > nocgo.go
printf 'module job\n\ngo 1.15\n' > go.mod
build() { env -u LD_PRELOAD GOCACHE="$CACHE/go" GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=$1 go build -o "$2" .; }
[[ -x $CACHE/job-static ]] || build 0 "$CACHE/job-static"
[[ -x $CACHE/job-cgo ]] || build 1 "$CACHE/job-cgo"
"$CACHE/job-static"
"$CACHE/job-cgo"
GOCACHE=$CACHE/go GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local go vet . && echo vetted
