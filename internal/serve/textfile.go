package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"berth/internal/files"
	"berth/internal/journal"

	"go.uber.org/zap"
)

// TextfileInterval is how often a textfile is replaced: that of the collectors which
// read such files.
const TextfileInterval = 15 * time.Second

// Textfile keeps a file up to date with what write writes until ctx ends, and then
// removes it: left behind, the file would go on telling of a MASTER. A reader sees the
// old file or the new one.
func Textfile(ctx context.Context, path string, write func(io.Writer) error, j *journal.Journal) {
	tick := time.NewTicker(TextfileInterval)
	defer tick.Stop()
	file := zap.String("textfile", path)
	writing := j.Condition()
	defer writing.Drop()
	for ctx.Err() == nil {
		var text bytes.Buffer
		err := write(&text)
		if err == nil {
			err = files.Replace(path, text.Bytes(), 0o644)
		}
		if err != nil {
			writing.Fail(unwritable, err, file)
		} else {
			writing.Clear(file)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		j.Tell(left, file, zap.Error(err))
	}
}
