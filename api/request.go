package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"berth/ips"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

// readBody reads the body of a request to its end and puts what was read in its place. The
// Content-Type does not count, as for LinK: curl sends that of a form.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return refuse(http.StatusUnsupportedMediaType, "the body is encoded; send it without Content-Encoding")
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", maxBody)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "the body did not arrive whole and in time")
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return nil
}

// addressBody is the body of a request about an address. The keys are those of LinK:
// healthchecks stands for checks in its second version.
type addressBody struct {
	IP                  string       `json:"ip"`
	Checks              *[]ips.Check `json:"checks"`
	HealthChecks        *[]ips.Check `json:"healthchecks"`
	KeepaliveInterval   *int         `json:"keepalive_interval"`
	HealthcheckInterval *int         `json:"healthcheck_interval"`
}

// parseSpec reads the body of a request that adds an address.
func parseSpec(text []byte) (ips.Spec, error) {
	var b addressBody
	if err := b.parse(text, `{"ip": "192.0.2.10"}`); err != nil {
		return ips.Spec{}, err
	}
	s := ips.Spec{IP: b.IP}
	if b.Checks != nil {
		s.Checks = *b.Checks
	}
	if b.KeepaliveInterval != nil {
		s.KeepaliveInterval = *b.KeepaliveInterval
	}
	if b.HealthcheckInterval != nil {
		s.HealthcheckInterval = *b.HealthcheckInterval
	}
	_, err := s.Parse()
	return s, err
}

// parseChange reads the body of a request that changes an address. With whole, what the
// body does not have gets its default, but beside healthchecks: LinK's second version
// replaces these alone.
func parseChange(text []byte, whole bool) (ips.Change, error) {
	var b addressBody
	if err := b.parse(text, `{"checks": []}`); err != nil {
		return ips.Change{}, err
	}
	c := ips.Change{Checks: b.Checks, KeepaliveInterval: b.KeepaliveInterval, HealthcheckInterval: b.HealthcheckInterval}
	if whole && b.HealthChecks == nil {
		if c.Checks == nil {
			c.Checks = &[]ips.Check{}
		}
		if c.KeepaliveInterval == nil {
			c.KeepaliveInterval = new(int)
		}
		if c.HealthcheckInterval == nil {
			c.HealthcheckInterval = new(int)
		}
	}
	return c, c.Valid()
}

// parse reads a body, and has both names of the checks stand for one.
func (b *addressBody) parse(text []byte, example string) error {
	if err := parseObject(text, b, example); err != nil {
		return err
	}
	if b.Checks != nil && b.HealthChecks != nil {
		return refuse(http.StatusBadRequest, "checks stands beside healthchecks, which means the same; write one of the two")
	}
	if b.Checks == nil {
		b.Checks = b.HealthChecks
	}
	return nil
}

// parseAddresses reads the body of a request that adds addresses to the pool.
func parseAddresses(text []byte) ([]string, error) {
	const example = `{"addresses": ["192.0.2.10"]}`
	var b struct {
		Addresses []string `json:"addresses"`
	}
	if err := parseObject(text, &b, example); err != nil {
		return nil, err
	}
	if len(b.Addresses) == 0 {
		return nil, refuse(http.StatusBadRequest, "addresses is missing or empty; write an object such as %s", example)
	}
	for i, text := range b.Addresses {
		if _, err := ips.ParseAddress(text); err != nil {
			return nil, refuse(http.StatusBadRequest, "addresses[%d] cannot be an address of the pool: %v", i, err)
		}
	}
	return b.Addresses, nil
}

// parseObject reads a body that is one JSON object. Keys that are not known do not count,
// as for LinK. The error does not repeat the body, which may be anything.
func parseObject(text []byte, to any, example string) error {
	err := json.Unmarshal(text, to)
	wrong, isType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return refuse(http.StatusBadRequest, "invalid json: the body is empty; write an object such as %s", example)
	case isType && wrong.Field != "":
		return refuse(http.StatusBadRequest, "invalid json: %s has to be %s", wrong.Field, kindOf(wrong.Type))
	case err != nil, bytes.TrimSpace(text)[0] != '{':
		return refuse(http.StatusBadRequest, "invalid json: the body is not one JSON object; write one such as %s", example)
	}
	return nil
}

// kindOf says in words what a value has to be.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// bodyOf returns the body that readBody has read.
func bodyOf(r *http.Request) []byte {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err) // it is in memory
	}
	return text
}

// idOf returns the id of the address in the path of a request, as ips.ID writes it.
func idOf(r *http.Request) (string, error) {
	a, err := ips.ParseID(r.PathValue("id"))
	if err != nil {
		return "", err
	}
	return ips.ID(a), nil
}
