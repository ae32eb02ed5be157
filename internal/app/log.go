package app

import (
	"io"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// newLogger builds the one logger of the process: text or JSON lines on
// stderr, or the journal when stderr leads nowhere, as keepalived leaves it
// for its scripts.
func newLogger(stderr io.Writer, verbose, json bool) *zap.Logger {
	level := zapcore.InfoLevel
	if verbose {
		level = zapcore.DebugLevel
	}
	if f, ok := stderr.(*os.File); ok && isDevNull(f) && journal.Enabled() {
		return zap.New(&journalCore{LevelEnabler: level, enc: textEncoder(false)})
	}
	enc := textEncoder(true)
	if json {
		enc = jsonEncoder()
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(stderr)), level))
}

func isDevNull(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

func encoderConfig() zapcore.EncoderConfig {
	return zapcore.EncoderConfig{
		TimeKey:        "ts",
		LevelKey:       "level",
		MessageKey:     "msg",
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	}
}

func jsonEncoder() zapcore.Encoder { return zapcore.NewJSONEncoder(encoderConfig()) }

func textEncoder(stamp bool) zapcore.Encoder {
	c := encoderConfig()
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.ConsoleSeparator = " "
	c.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00")
	if !stamp {
		c.TimeKey, c.LevelKey = "", "" // the journal has its own
	}
	return zapcore.NewConsoleEncoder(c)
}

// journalCore sends entries to journald with their priority, see sd_journal_send(3).
type journalCore struct {
	zapcore.LevelEnabler
	enc    zapcore.Encoder
	fields []zapcore.Field
}

func (c *journalCore) With(fields []zapcore.Field) zapcore.Core {
	return &journalCore{LevelEnabler: c.LevelEnabler, enc: c.enc, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *journalCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *journalCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	var line *buffer.Buffer
	line, err := c.enc.EncodeEntry(e, append(c.fields[:len(c.fields):len(c.fields)], fields...))
	if err != nil {
		return err
	}
	defer line.Free()
	line.TrimNewline()
	priority := journal.PriInfo
	switch e.Level {
	case zapcore.DebugLevel:
		priority = journal.PriDebug
	case zapcore.WarnLevel:
		priority = journal.PriWarning
	case zapcore.ErrorLevel:
		priority = journal.PriErr
	}
	return journal.Send(line.String(), priority, map[string]string{"SYSLOG_IDENTIFIER": "berth"})
}

func (c *journalCore) Sync() error { return nil }

// since prints a moment as people ask for it: how long ago.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}
