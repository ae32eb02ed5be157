package fifo

import (
	"bytes"
	"fmt"
	"strconv"

	"berth/vrrp"
)

// maxLine bounds a line in bytes. keepalived's longest line has about 1100 bytes; a
// longer one is not from keepalived, and is skipped to its end.
const maxLine = 4096

// ParseLine reads one line, without its newline:
//
//	INSTANCE "name" STATE PRIORITY
//	GROUP "name" STATE 0
//
// The name is verbatim and may hold spaces, state words, anything but a double
// quote, so the line is parsed from both ends. relevant is false for empty lines and
// for those of keepalived's checker process (VS and RS). An error describes a line that
// keepalived cannot have written, or is an *UnknownWordError.
func ParseLine(line []byte) (ev vrrp.Event, relevant bool, err error) {
	kind, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(kind) {
	case "INSTANCE":
	case "GROUP":
		ev.Group = true
	case "VS", "RS":
		return ev, false, nil
	default:
		if len(line) == 0 {
			return ev, false, nil
		}
		return ev, false, fmt.Errorf("line does not begin with INSTANCE or GROUP")
	}
	var name, tail []byte
	if len(rest) > 0 && rest[0] == '"' {
		end := bytes.LastIndex(rest, []byte(`" `))
		if end < 1 {
			return ev, false, fmt.Errorf("name has no closing quote")
		}
		name, tail = rest[1:end], rest[end+2:]
	} else {
		// Written by an operator, as in `echo INSTANCE VI_1 BACKUP 100 >fifo`.
		var ok bool
		if name, tail, ok = bytes.Cut(rest, []byte(" ")); !ok {
			return ev, false, fmt.Errorf("state is missing")
		}
	}
	if bytes.IndexByte(name, '"') >= 0 {
		return ev, false, fmt.Errorf("name holds a double quote")
	}
	fields := bytes.Fields(tail)
	if len(fields) < 1 || len(fields) > 2 {
		return ev, false, fmt.Errorf("expected a state and a priority after the name")
	}
	if len(fields) == 2 {
		if ev.Priority, err = strconv.Atoi(string(fields[1])); err != nil || ev.Priority < 0 || ev.Priority > 255 {
			return ev, false, fmt.Errorf("priority is not a number from 0 to 255")
		}
	}
	ev.Source, ev.Instance = "fifo", string(name)
	word := string(fields[0])
	var known bool
	if ev.Kind, ev.State, known = vrrp.ParseWord(word); !known {
		return ev, false, &UnknownWordError{Word: word}
	}
	return ev, true, nil
}

// UnknownWordError describes a well-formed line whose state word berth does not know.
// keepalived's documentation asks readers to ignore such lines.
type UnknownWordError struct{ Word string }

// Error names the word.
func (e *UnknownWordError) Error() string { return fmt.Sprintf("unknown state word %q", e.Word) }

// splitter joins lines from reads that may end in the middle of a line.
type splitter struct {
	partial []byte // of a line whose end has not been read
	skip    bool   // the current line is too long; skip to its end
}

// feed calls line for each line completed by chunk, and tooLong when a line
// exceeds maxLine. The slice passed to line is valid only during the call.
func (s *splitter) feed(chunk []byte, line func([]byte), tooLong func()) {
	for len(chunk) > 0 {
		end := bytes.IndexByte(chunk, '\n')
		piece := chunk
		if end >= 0 {
			piece, chunk = chunk[:end], chunk[end+1:]
		} else {
			chunk = nil
		}
		if !s.skip && len(s.partial)+len(piece) > maxLine {
			s.skip, s.partial = true, s.partial[:0]
			tooLong()
		}
		if !s.skip {
			if end >= 0 && len(s.partial) == 0 {
				line(piece)
				continue
			}
			s.partial = append(s.partial, piece...)
		}
		if end >= 0 {
			if !s.skip {
				line(s.partial)
			}
			s.skip, s.partial = false, s.partial[:0]
		}
	}
}
