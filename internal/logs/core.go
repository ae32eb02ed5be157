package logs

import (
	"io"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Direct returns a logger that writes each line in the call that logs it. It is for
// tests, which read the lines.
func Direct(w io.Writer, verbose, json bool) *zap.Logger {
	enc := textEncoder(true)
	if json {
		enc = jsonEncoder()
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level(verbose)))
}

func level(verbose bool) zapcore.Level {
	if verbose {
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}

// core is the zapcore.Core that queues.
type core struct {
	zapcore.LevelEnabler
	log    *Log
	json   bool
	last   bool // see Log.Last
	fields []zapcore.Field
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	with := *c
	with.fields = append(slices.Clip(c.fields), fields...)
	return &with
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write encodes at once, because the values of pointers in fields may change.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	all := append(slices.Clip(c.fields), fields...)
	c.log.mu.Lock()
	file := c.log.file
	c.log.mu.Unlock()
	var lines []line
	if file != nil {
		text, err := encode(file, c.json, e, all)
		if err != nil {
			return err
		}
		lines = append(lines, line{e.Level, text, file, c.last})
	}
	if file == nil || c.last {
		text, err := encode(c.log.standard, c.json, e, all)
		if err != nil {
			return err
		}
		lines = append(lines, line{e.Level, text, nil, c.last})
	}
	c.log.put(lines...)
	return nil
}

// Sync does nothing, because an event does not wait for its lines; see Log.Flush.
func (c *core) Sync() error { return nil }

// encode returns an entry as a line for a place.
func encode(p place, json bool, e zapcore.Entry, fields []zapcore.Field) ([]byte, error) {
	enc := textEncoder(p.stamped())
	if json && p.stamped() {
		enc = jsonEncoder()
	}
	buf, err := enc.EncodeEntry(e, fields)
	if err != nil {
		return nil, err
	}
	defer buf.Free()
	return slices.Clone(buf.Bytes()), nil
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

func textEncoder(stamped bool) zapcore.Encoder {
	c := encoderConfig()
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.ConsoleSeparator = " "
	c.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00")
	if !stamped {
		c.TimeKey, c.LevelKey = "", "" // journal and syslog have their own
	}
	return zapcore.NewConsoleEncoder(c)
}
