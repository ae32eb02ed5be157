package keepalivedconf

import (
	"bytes"
	"slices"
	"strconv"
)

// definition is the value that $NAME=value stores. The value is stored as written;
// other definitions in it are looked up when it is used.
type definition struct {
	value []byte
	// multiline means a value of several lines, each but the last ended by a
	// newline. The value can be used only where nothing follows on the line.
	multiline bool
	closed    bool // an empty line ended the collecting
	// builtin computes the value at each use. params is the text after the name
	// inside the braces.
	builtin              func(r *reader, params string) string
	minParams, maxParams int
	words                bool // a parameter need not be a number
}

// builtins returns the definitions that exist without being defined.
func builtins(v dialect) map[string]*definition {
	defs := map[string]*definition{
		"_PWD":      {builtin: func(r *reader, _ string) string { return r.workingDirectory() }},
		"_INSTANCE": {builtin: func(r *reader, _ string) string { return r.configID }},
		"_RANDOM":   {builtin: (*reader).random, maxParams: 2},
	}
	if v.has[hashDefinitions] {
		defs["_HASH"] = &definition{value: []byte("#")}
		defs["_BANG"] = &definition{value: []byte("!")}
	}
	if v.has[environmentDefinition] {
		defs["_ENV"] = &definition{minParams: 1, maxParams: 1, words: true, builtin: (*reader).environment}
	}
	return defs
}

// environment returns the value of _ENV NAME.
func (r *reader) environment(name string) string {
	if name == "" {
		r.crash("${_ENV} has no name of a variable")
	}
	r.warn("${_ENV %s} is a variable of keepalived's own environment, which is not known here, and is read as an empty one; write the value instead", name)
	return ""
}

// random returns the value of _RANDOM [min [max]]. The number that keepalived
// draws is unknown, so random returns the smallest.
func (r *reader) random(params string) string {
	r.warn("${_RANDOM} is another number each time keepalived reads the file; read here as the smallest one")
	least, _ := cUint(params)
	return strconv.FormatUint(least, 10)
}

// definitionName returns the name of a definition line $NAME=value. There may
// be no blank before the equals sign.
func definitionName(line []byte) (name string, value []byte, ok bool) {
	if len(line) < 2 || line[0] != '$' || !isAlpha(line[1]) && line[1] != '_' {
		return "", nil, false
	}
	i := 2
	for i < len(line) && (isAlnum(line[i]) || line[i] == '_') {
		i++
	}
	if i == len(line) || line[i] != '=' {
		return "", nil, false
	}
	return string(line[1:i]), trimBlankLeft(line[i+1:]), true
}

// define stores a definition line. It returns the definition if the value
// goes on with the next line.
func (r *reader) define(name string, value []byte) *definition {
	d := r.redefine(name)
	if !bytes.HasSuffix(value, []byte{'\\'}) {
		d.value = bytes.Clone(value)
		return nil
	}
	d.multiline = true
	if first := trimBlankRight(value[:len(value)-1]); len(first) > 0 {
		d.value = append(bytes.Clone(first), '\n')
	}
	return d
}

// redefine returns a new definition in place of the one that a name has.
func (r *reader) redefine(name string) *definition {
	d := &definition{}
	if old := r.defs[name]; old != nil {
		d.minParams, d.maxParams, d.words = old.minParams, old.maxParams, old.words
		if old.multiline && r.replaying && (r.replay.name == name || slices.ContainsFunc(r.macros, func(p replay) bool { return p.name == name })) {
			r.refuse("keepalived may crash here: $%s is defined anew by one of its own lines; use another name", name)
		}
	}
	r.defs[name] = d
	return d
}

// extend adds a line to a definition of several lines. It reports whether the
// next line belongs to it too.
func (d *definition) extend(line []byte) (more bool) {
	if bytes.HasSuffix(line, []byte{'\\'}) {
		if text := trimBlankRight(line[:len(line)-1]); len(text) > 0 {
			d.value = append(append(d.value, text...), '\n')
		}
		return true
	}
	d.close()
	d.value = append(d.value, line...)
	return false
}

// close ends the collecting of lines. A definition without a line by then is an
// empty definition of one line.
func (d *definition) close() {
	if len(d.value) == 0 {
		d.multiline = false
	}
}

func (r *reader) setVariable(name, value string) {
	r.redefine(name).value = []byte(value)
}
