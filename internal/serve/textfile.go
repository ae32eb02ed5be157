package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"berth/internal/files"
)

// TextfileInterval is how often a textfile is replaced: that of the collectors which
// read such files.
const TextfileInterval = 15 * time.Second

// Textfile keeps a file up to date with what write writes until ctx ends, and then
// takes it away: left behind it would go on telling of a MASTER. A reader sees the
// old file or the new one.
func Textfile(ctx context.Context, path string, write func(io.Writer) error, log *zap.Logger) {
	tick := time.NewTicker(TextfileInterval)
	defer tick.Stop()
	failing := false
	for ctx.Err() == nil {
		var text bytes.Buffer
		err := write(&text)
		if err == nil {
			err = files.Replace(path, text.Bytes(), 0o644)
		}
		if err != nil && !failing {
			log.Warn("cannot write metrics; trying again", zap.String("textfile", path), zap.Error(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("cannot remove metrics", zap.String("textfile", path), zap.Error(err))
	}
}
