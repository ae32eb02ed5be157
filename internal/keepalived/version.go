package keepalived

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/rundir"

	"go.uber.org/zap"
)

// versionTimeout bounds `keepalived --version`.
const versionTimeout = time.Second

// maxVersionFile bounds the file that caches the version, in bytes.
const maxVersionFile = 8 << 10

// Version returns the version as which keepalived's configuration is to be read: the
// configured one, or else that of the keepalived that is installed, "" for the newest
// known. runDirectory is where the answer of the installed one is cached, "" for nowhere.
func Version(configured, runDirectory string, j *journal.Journal) string {
	if configured != "" {
		return configured
	}
	version, err := installedVersion(runDirectory)
	if err != nil {
		j.Tell(versionUnknown, zap.Error(err))
	}
	return version
}

// installedVersion returns the version of the keepalived on this machine, ""
// if there is none. As asking takes longer than a claim, the answer is cached in
// the run directory, if that is given, for as long as the program's file stays
// the same.
func installedVersion(runDirectory string) (string, error) {
	program, err := exec.LookPath("keepalived")
	if err != nil {
		program = "/usr/sbin/keepalived" // not on the PATH of every script
	}
	st, err := os.Stat(program)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask keepalived for its version: %w", err)
	}
	cache := rundir.Dir(runDirectory).KeepalivedVersion()
	key := fmt.Sprintf("%s %d %d ", program, st.Size(), st.ModTime().UnixNano())
	if text, err := files.ReadOwn(cache, maxVersionFile); err == nil {
		version, ours := strings.CutPrefix(string(text), key)
		if version, whole := strings.CutSuffix(version, "\n"); ours && whole {
			return version, nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // berth's may hold secrets
	cmd.WaitDelay = versionTimeout                  // a wrapper's child may keep the output open
	out, err := cmd.CombinedOutput()
	m := regexp.MustCompile(`Keepalived v(\d+\.\d+\.\d+)`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("ask keepalived for its version: unexpected answer of %s --version: %w", program, errors.Join(err, ctx.Err()))
	}
	version := string(m[1])
	// Without the cache, or when others may have written it, the next start asks again.
	if runDirectory != "" && os.MkdirAll(runDirectory, 0o755) == nil {
		_ = files.Replace(cache, []byte(key+version+"\n"), 0o644)
	}
	return version, nil
}
