package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"berth/internal/program"
)

// Exec is a program, which is started without a shell. All is well if its exit status is
// 0. Otherwise its first line, on standard output or else on standard error, is the
// reason.
type Exec struct {
	Command     []string          // path or name, and arguments
	Environment map[string]string // beside PATH, HOME, TZ, LANG and LC_* of berth's own
}

// maxOutput bounds how much of an output is stored, in bytes. The rest is read and
// dropped, so that the program does not wait for a reader.
const maxOutput = 4 << 10

// Check is a Check. At the end of ctx the program and its process group are killed.
func (e Exec) Check(ctx context.Context) error {
	var extra []string
	for name, value := range e.Environment {
		extra = append(extra, name+"="+value)
	}
	slices.Sort(extra)
	cmd := exec.CommandContext(ctx, e.Command[0], e.Command[1:]...)
	cmd.Env = program.Environment(os.Environ(), extra)
	var out, said head
	err := program.Run(cmd, &out, &said)
	exit, _ := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case exit == nil:
		return reasonOf(ctx, fmt.Errorf("run program: %w", err))
	}
	if reason := cmp.Or(first(string(out)), first(string(said))); reason != "" {
		return fmt.Errorf("%s: %s", exit, cut(e.redacted(reason)))
	}
	return errors.New(exit.String())
}

// leastSecret is the length, in bytes, of the shortest value that counts as a secret: to
// hide each 3 would make a reason unreadable.
const leastSecret = 8

// redacted returns a line that the program said without what only the program was told:
// the values of its environment, each line of these, the longest first, because one may
// contain another.
func (e Exec) redacted(text string) string {
	var secrets []string
	for _, value := range e.Environment {
		for l := range strings.Lines(value) {
			if l = first(l); len(l) >= leastSecret {
				secrets = append(secrets, l)
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "*****")
	}
	return text
}

// Usable returns an error while there is no such program.
func (e Exec) Usable() error {
	_, err := exec.LookPath(e.Command[0])
	return err
}

// head stores the beginning of what is written to it.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	*h = append(*h, p[:min(len(p), maxOutput-len(*h))]...)
	return len(p), nil
}
