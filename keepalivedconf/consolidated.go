package keepalivedconf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ConsolidatedName is the end of the link below /proc/PID/fd that leads to the text
// that ParseConsolidated reads.
const ConsolidatedName = "/keepalived/consolidated_configuration (deleted)"

// Reasons why a text is not a consolidated configuration of keepalived.
var (
	errNotWhole = errors.New("it does not end where its first file ends")
	errLongLine = fmt.Errorf("it has a line of more than %d bytes", lineLimit)
)

// Lines of the consolidated text that keepalived adds. A note names files that do
// not exist.
var (
	noteMark  = []byte("#!")
	beginMark = []byte("# ")
	endMark   = []byte("!")
)

// ConsolidatedPath returns the path that the text has for the first file, as
// keepalived was given it.
func ConsolidatedPath(data []byte) (string, bool) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	path, ok := bytes.CutPrefix(line, beginMark)
	return string(path), ok && len(path) > 0
}

// consolidated makes the text the copy that the second pass reads, and records
// where its lines come from.
func (r *reader) consolidated(data []byte) error {
	if len(data) > sizeLimit || !bytes.HasSuffix(data, []byte("\n!\n")) {
		return errNotWhole
	}
	var open []place // the files around a line
	for line := range bytes.Lines(data) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) > lineLimit {
			return errLongLine
		}
		at := border
		switch {
		case bytes.HasPrefix(line, noteMark):
		case bytes.HasPrefix(line, beginMark):
			open = append(open, place{file: int32(r.fileIndex(string(line[len(beginMark):])))})
		case bytes.Equal(line, endMark) && len(open) > 0:
			open = open[:len(open)-1]
		case len(open) > 0:
			top := &open[len(open)-1]
			top.line++
			at = *top
		}
		r.where = append(r.where, at)
	}
	if len(open) > 0 || len(r.files) == 0 {
		return errNotWhole
	}
	r.copied.data = data
	return nil
}

// SumConsolidated returns a sum that identifies the statements of a consolidated
// text: the name of the first file, keepalived's notes and empty lines do not count.
// A Config with this Sum was read from the same statements.
func SumConsolidated(data []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	_, data, _ = bytes.Cut(data, []byte("\n"))
	for line := range bytes.Lines(data) {
		if len(line) > 1 && !bytes.HasPrefix(line, noteMark) {
			_, _ = h.Write(line) // never fails
		}
	}
	h.Sum(sum[:0])
	return sum
}
