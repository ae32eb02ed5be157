package exec

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"time"

	"go.uber.org/zap"

	"berth/internal/program"
	"berth/providers"
)

const (
	maxAnswer = 1 << 20 // bytes
	maxLine   = 1 << 10 // bytes of a line of standard error that are logged
	maxLines  = 100     // of one run

	// runsAtOnce bounds how many programs run at a time. Each costs berth some six
	// descriptors, and the host a process.
	runsAtOnce = 32
)

// run starts the program and returns what the program wrote until its end.
func (c *Client) run(ctx context.Context, op string, in []byte) (answer []byte, err error) {
	if ctx.Err() != nil {
		return nil, providers.EndedError(ctx, name, op)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, providers.EndedError(ctx, name, op)
	}
	start := time.Now()
	defer func() { c.metrics.Request(name, op, 0, time.Since(start), err) }()
	runCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out := &limited{}
	lines := &logLines{log: func(line string) {
		c.journal.Tell(programSays, zap.String("op", op), zap.String("line", c.caller.Refused(op, providers.Transient, line).Detail))
	}}
	cmd := exec.CommandContext(runCtx, c.command[0], c.command[1:]...)
	cmd.Env = program.Environment(os.Environ(), c.extra)
	cmd.Stdin = bytes.NewReader(in)
	err = program.Run(cmd, out, lines)
	lines.flush()
	switch exit, _ := errors.AsType[*exec.ExitError](err); {
	case ctx.Err() != nil && err != nil:
		return nil, providers.EndedError(ctx, name, op)
	case out.full:
		return nil, c.caller.Refused(op, providers.Transient, program.ErrTooLarge.Error())
	case runCtx.Err() != nil && err != nil:
		e := c.caller.Refused(op, providers.Transient, "killed after "+c.timeout.String())
		e.Cause = context.DeadlineExceeded
		return nil, e
	case exit != nil:
		return out.b.Bytes(), c.caller.Refused(op, kindOf(exit.ExitCode()), exit.String())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, c.caller.Refused(op, providers.Transient, "run program: "+err.Error())
	}
	return out.b.Bytes(), nil
}

// kindOf tells what an exit status of sysexits(3) means.
func kindOf(status int) providers.Kind {
	switch status {
	case 64, 78: // EX_USAGE, EX_CONFIG
		return providers.Invalid
	case 77: // EX_NOPERM
		return providers.Auth
	}
	return providers.Transient
}

// limited stores what is written to it up to a limit, and fails beyond.
type limited struct {
	b    bytes.Buffer
	full bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len()+len(p) > maxAnswer {
		l.full = true
		return 0, program.ErrTooLarge
	}
	return l.b.Write(p)
}

// logLines logs what is written to it, line by line, as much as is sensible.
type logLines struct {
	log   func(string)
	line  []byte
	count int
}

func (l *logLines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, line[:min(len(line), maxLine-len(l.line))]...)
		if ended {
			l.flush()
		}
		rest = after
	}
	return len(p), nil
}

// flush logs the line that has not ended.
func (l *logLines) flush() {
	if len(l.line) > 0 && l.count < maxLines {
		l.log(string(l.line))
		l.count++
	}
	l.line = l.line[:0]
}
