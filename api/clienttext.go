package api

import (
	"reflect"
	"strings"
	"unicode"
)

// harmless changes all texts of an answer to such as change no terminal, no line and no
// direction of the writing: what is made of an answer, a table or JSON, prints texts that a
// server, or another member, has chosen. An answer has no maps.
func harmless(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			harmless(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				harmless(f)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			harmless(v.Index(i))
		}
	case reflect.String:
		if text := v.String(); strings.ContainsFunc(text, unprintable) {
			v.SetString(strings.Map(printable, text))
		}
	case reflect.Map, reflect.Interface, reflect.Array:
		panic("an answer has a " + v.Kind().String())
	}
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// printable returns what stands for a character.
func printable(r rune) rune {
	switch {
	case r == '\n' || r == '\r' || r == '\t':
		return ' '
	case unprintable(r):
		return unicode.ReplacementChar
	}
	return r
}
