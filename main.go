// Command berth keeps cloud floating IPs pointed at the host that is MASTER.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"berth/internal/app"
	"berth/internal/logs"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

func main() {
	// berth must not end because the reader of its output has ended.
	signal.Ignore(unix.SIGPIPE)
	// Each file is made with the mode that the code gives. keepalived's scripts
	// inherit 0177, with which only root could enter the run directory and
	// `berth status` would fail for every other user.
	unix.Umask(0o022)
	// The handler stays installed: the next notify script may end this one by
	// SIGTERM after its work is done, and that must not become its exit status.
	ctx, _ := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	os.Exit(run(ctx, os.Args, os.Getenv, os.Stdout, os.Stderr))
}

// run is the program: everything that main gets from the system is an argument.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	log := logs.New(stderr)
	return log.While(func() int { return logged(ctx, args, getenv, stdout, stderr, log) })
}

// logged is run with a log.
func logged(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, log *logs.Log) int {
	path := executable(args[0])
	o := &app.Options{Program: args[0], Executable: path, Version: version(), Getenv: getenv, Stdout: stdout, Stderr: stderr, Logs: log,
		Again: func() error {
			log.Flush()
			return again(path)
		}}
	cmd := command(o)
	cmd.SetArgs(asCalled(args))
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	o.Close()
	if n, ok := errors.AsType[*app.NagiosError](err); ok {
		return n.Status
	}
	if err != nil {
		// Also usage errors go through the one logger, so that --json-log
		// holds for every line. Flags that did not parse cannot have set it.
		o.JSONLog = o.JSONLog || jsonWanted(args[1:])
		fields := []zap.Field{}
		if app.ExitStatus(err) == app.ExitUsage {
			fields = append(fields, zap.String("help", "berth --help"))
		}
		// The message is the text of the error, for the person who started berth; it is
		// not an event with a code.
		last := log.Last(o.JSONLog)
		for _, line := range strings.Split(err.Error(), "\n") {
			last.Log(zap.ErrorLevel, line, fields...)
			fields = nil
		}
	}
	return app.ExitStatus(err)
}

// again executes the program that is installed at path in place of this process.
func again(path string) error {
	// A handler does not outlive exec(3), and SIGHUP would end a process that has not caught
	// it yet. A signal that is lost here asks for nothing more: the next process catches
	// SIGHUP, and then reads the configuration.
	signal.Ignore(unix.SIGHUP)
	return fmt.Errorf("execute %s: %w", path, unix.Exec(path, os.Args, os.Environ()))
}

// executable returns the path by which this program was called: not that of the
// file behind it, because an upgrade can point a link at another one.
func executable(arg0 string) string {
	path, err := exec.LookPath(arg0)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, _ = os.Executable() // the file itself is better than nothing
	}
	return path
}

// jsonWanted finds --json-log before the first argument that is not a flag.
func jsonWanted(args []string) bool {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return false
		}
		if a == "--json-log" || a == "--json-log=true" {
			return true
		}
	}
	return false
}

// usage turns a mistake in flags or arguments into the error with exit status 2.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &app.UsageError{Err: err}
}

// arguments checks how many arguments there are.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if _, names, some := strings.Cut(cmd.Use, " "); err != nil && some {
			err = fmt.Errorf("%s expects %s; arguments given: %d", cmd.CommandPath(), names, len(args))
		}
		return usage(err)
	}
}

// oneOf checks the value of an --output flag.
func oneOf(value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return usage(fmt.Errorf("--output %q is not one of %s", value, strings.Join(allowed, ", ")))
}
