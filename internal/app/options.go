package app

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"sync"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/logs"
	"berth/internal/metrics"
	"berth/internal/names"
	"berth/providers/catalog"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"
)

// Options are the flags and the environment, the same for all commands.
type Options struct {
	Program string // argv[0]; for the name floaty, some defaults are floaty's
	// Executable is the absolute path by which the program was called.
	Executable string
	Version    string
	Verbose    bool
	JSONLog    bool
	DryRun     bool
	Getenv     func(string) string
	Stdout     io.Writer
	Stderr     io.Writer
	// Logs takes the lines of the log; nil writes them to Stderr at once.
	Logs *logs.Log
	// Again executes the program anew in this process, with the same arguments. It
	// returns only an error.
	Again func() error
	// HTTP replaces the providers' transport in tests, nil for the real one.
	HTTP http.RoundTripper

	names names.Pool

	// A process has these once, see Journal and count.
	mu      sync.Mutex
	journal *journal.Journal
	meters  *meters
}

// Exit statuses.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// UsageError is a mistake in the arguments or the configuration of berth, as opposed
// to a failure of its work.
type UsageError struct{ Err error }

// Error returns the text of the mistake.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *UsageError) Unwrap() error { return e.Err }

// ExitStatus returns the exit status for the error of a command.
func ExitStatus(err error) int {
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		return ExitUsage
	}
	return ExitFailed
}

// verbose reports whether debug lines are logged. The variables count when they have
// any value, even 0, as floaty's does.
func (o *Options) verbose() bool {
	return o.Verbose || o.Getenv("BERTH_LOG_VERBOSE") != "" || o.Getenv("FLOATY_LOG_VERBOSE") != ""
}

// Logger returns the one logger of the process.
func (o *Options) Logger() *zap.Logger {
	if o.Logs == nil {
		return logs.Direct(o.Stderr, o.verbose(), o.JSONLog)
	}
	return o.Logs.Logger(o.verbose(), o.JSONLog)
}

// Journal returns the one journal of the process, which writes to its one logger.
func (o *Options) Journal() *journal.Journal {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.journal == nil {
		o.journal = journal.New(o.Logger())
	}
	return o.journal
}

// count returns the metrics of the process, which from now on take its events. A
// service calls it before anything else, so that no event is told before.
func (o *Options) count() *meters {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.meters != nil {
		return o.meters
	}
	if o.journal != nil {
		panic("events are told before they are counted")
	}
	o.meters = newMeters(&metrics.Registry{})
	o.journal = journal.New(o.Logger(), o.meters.events.Take)
	return o.meters
}

// load reads the configuration file.
func (o *Options) load(path string) (*config.Config, error) {
	co := config.Options{Sections: sections()}
	if filepath.Base(o.Program) == "floaty" {
		co.LockFileTemplate = config.FloatyLockFileTemplate
	}
	c, err := config.Load(path, co)
	if err != nil {
		return nil, &UsageError{err}
	}
	return c, nil
}

// sections returns the check of each provider's section.
func sections() map[string]config.SectionCheck {
	all := map[string]config.SectionCheck{}
	for name, entry := range catalog.Providers {
		all[name] = entry.Check
	}
	return all
}

// secrets returns where the secrets of a section are looked up.
func (o *Options) secrets(c *config.Config, section string, j *journal.Journal) config.SecretSource {
	s := config.SecretSource{Section: section, Getenv: o.Getenv, Config: c, Journal: j}
	if section == "etcd" || section == "api" {
		s.CredentialPrefix = section + "." // beside a provider's, which are named by their keys alone
	}
	return s
}

// Close ends what outlives a single command's parts. It is called when the command
// has ended.
func (o *Options) Close() { o.names.Close() }

// providerSection returns the section of the chosen provider, nil if the file does
// not have it.
func providerSection(c *config.Config) *yaml.Node {
	if n, ok := c.Sections[c.Provider]; ok {
		return &n
	}
	return nil
}
