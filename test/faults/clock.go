package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clockEnv names the variable that tells a binary of BuildWithClock the file with
// the error of its wall clock: eight bytes, whole seconds, in the machine's order.
const clockEnv = "BERTH_LAB_CLOCK"

// clockSource becomes part of the standard library's package time.
const clockSource = `package time

import (
	"syscall"
	"unsafe"
)

var labClock = func() *int64 {
	path, ok := syscall.Getenv("` + clockEnv + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(unsafe.SliceData(b)))
}()
`

// BuildWithClock builds a berth whose own wall clock SetClock sets wrong while it
// runs: time.Now reads the error from a shared page. The monotonic clock is not
// changed, as when a machine's clock is stepped.
func BuildWithClock(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find GOROOT: %w", err)
	}
	lib := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		return "", err
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), read) != 1 {
		return "", fmt.Errorf("patch %s/time.go: time.Now is not written as in Go 1.26", lib)
	}
	patched := filepath.Join(dir, "time.go")
	added := filepath.Join(dir, "labclock.go")
	overlay := filepath.Join(dir, "overlay.json")
	plan, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(lib, "time.go"):     patched,
		filepath.Join(lib, "labclock.go"): added,
	}})
	if err != nil {
		return "", err
	}
	for path, content := range map[string]string{
		patched: strings.Replace(string(text), read, read+"\tsec += *labClock\n", 1),
		added:   clockSource,
		overlay: string(plan),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return build(filepath.Join(dir, "berth-clock"), []string{"-overlay", overlay})
}

func build(path string, flags []string) (string, error) {
	args := append(append([]string{"build"}, flags...), "-o", path, "berth")
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build berth: %w\n%s", err, out)
	}
	return path, nil
}
