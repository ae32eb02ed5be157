package logs

import (
	"errors"
	"log/syslog"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
)

// errNowhere says that lines cannot be written: standard error is /dev/null, and
// neither journald nor a syslog daemon runs.
var errNowhere = errors.New("neither journald nor syslog takes lines")

// identifier is the name of the process in the journal and in syslog.
const identifier = "berth"

// daemons is journald, or syslog where journald does not run. Both may start after
// this process.
type daemons struct {
	journal func() bool
	send    func(text string, p journal.Priority, fields map[string]string) error
	path    string // of syslog's socket
	syslog  *syslog.Writer
}

func newDaemons() *daemons {
	return &daemons{journal: journal.Enabled, send: journal.Send, path: "/dev/log"}
}

func (*daemons) stamped() bool { return false }

func (d *daemons) write(level zapcore.Level, text []byte, _ <-chan struct{}) error {
	message := strings.TrimSuffix(string(text), "\n")
	if d.journal() && d.send(message, priority(level), map[string]string{"SYSLOG_IDENTIFIER": identifier}) == nil {
		return nil
	}
	if d.syslog == nil {
		// A socket of datagrams, as rsyslog has it, or a stream.
		for _, network := range []string{"unixgram", "unix"} {
			w, err := syslog.Dial(network, d.path, syslog.LOG_DAEMON|syslog.LOG_INFO, identifier)
			if err == nil {
				d.syslog = w
				break
			}
		}
	}
	if d.syslog == nil {
		return errNowhere
	}
	// The writer connects again once if the daemon was restarted.
	return severity(d.syslog, level)(message)
}

func priority(level zapcore.Level) journal.Priority {
	switch {
	case level <= zapcore.DebugLevel:
		return journal.PriDebug
	case level == zapcore.WarnLevel:
		return journal.PriWarning
	case level >= zapcore.ErrorLevel:
		return journal.PriErr
	}
	return journal.PriInfo
}

func severity(w *syslog.Writer, level zapcore.Level) func(string) error {
	switch {
	case level <= zapcore.DebugLevel:
		return w.Debug
	case level == zapcore.WarnLevel:
		return w.Warning
	case level >= zapcore.ErrorLevel:
		return w.Err
	}
	return w.Info
}
