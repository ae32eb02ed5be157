package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfterInBothForms(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name, header, date string
		want               time.Duration
		wantOK             bool
	}{
		{"none", "", "", 0, false},
		{"seconds", "120", "", 2 * time.Minute, true},
		{"no seconds", "0", "", 0, true},
		{"more seconds than we believe", "999999999", "", 24 * time.Hour, true},
		{"more seconds than a number holds", "18446744073709551616", "", 24 * time.Hour, true},
		{"more digits than any number has", strings.Repeat("9", 400), "", 24 * time.Hour, true},
		{"negative", "-1", "", 0, false},
		{"a fraction", "1.5", "", 0, false},
		{"date", "Sat, 21 Nov 2026 12:00:30 GMT", "", 30 * time.Second, true},
		{"date gone by", "Sat, 21 Nov 2026 11:00:00 GMT", "", 0, true},
		{"date by a clock two hours fast", "Sat, 21 Nov 2026 14:00:30 GMT", "Sat, 21 Nov 2026 14:00:00 GMT", 30 * time.Second, true},
		{"date of RFC 850", "Saturday, 21-Nov-26 12:01:00 GMT", "", time.Minute, true},
		{"nonsense", "tomorrow", "", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			h.Set("Retry-After", tt.header)
			h.Set("Date", tt.date)
			got, ok := retryAfter(h, now)
			if got != tt.want || ok != tt.wantOK {
				t.Errorf("want %s, %v, got %s, %v", tt.want, tt.wantOK, got, ok)
			}
		})
	}
}

func TestClockIsNamedWhereItExplainsARefusal(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for date, want := range map[string]string{
		"Sat, 21 Nov 2026 12:11:00 GMT": "; this host's clock is 11m0s behind the provider's",
		"Sat, 21 Nov 2026 11:00:00 GMT": "; this host's clock is 1h0m0s ahead of the provider's",
		"Sat, 21 Nov 2026 12:00:59 GMT": "",
		"yesterday":                     "",
		"":                              "",
	} {
		if got := clockSkew(http.Header{"Date": {date}}, now); got != want {
			t.Errorf("%s: want %q, got %q", date, want, got)
		}
	}
}

func TestTextOfTheServerIsFoundInAnyShape(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"detail", `{"detail":"Invalid token."}`, "Invalid token."},
		{"field", `{"server":"Unknown."}`, "server: Unknown."},
		{"field with a list", `{"server":["Unknown.","Twice."]}`, "server: Unknown.; server: Twice."},
		{"nested", `{"detail":{"code":7}}`, "code: 7"},
		{"problem details", `{"title":"Bad","status":400,"errors":[{"detail":"worse"}]}`, "errors: worse; status: 400; Bad"},
		{"list", `["a","b"]`, "a; b"},
		{"bare text in JSON", `"no"`, "no"},
		{"text", "no\r\nway\x1b[31m\n", "no way [31m"},
		{"page", "<html><title>502 Bad\nGateway</title><body>nginx</body></html>", "502 Bad Gateway nginx"},
		{"cut page", "<html><title>502</title><bo", "502"},
		{"cut JSON", `{"detail":"Invali`, `{"detail":"Invali`},
		{"nothing", "", ""},
		{"long", strings.Repeat("x", 300), strings.Repeat("x", 200) + "..."},
		{"not UTF-8", "a\xffb", "a?b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newSecrets(nil).clean(detail(&exchange{status: 400, body: []byte(tt.body)}), maxDetail)
			if got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}

func TestSecretIsFoundInAnySpelling(t *testing.T) {
	const token = `aZ3"<k%9 Qm7/+xY=tb`
	s := newSecrets([]string{"", token})
	quoted, _ := json.Marshal(token)
	tests := []struct {
		name, text string
		want       bool
	}{
		{"plain", "x" + token + "y", true},
		{"upper case", strings.ToUpper(token), true},
		{"first half", token[:9], true},
		{"last half", token[9:], true},
		{"in JSON", string(quoted), true},
		{"as %q", fmt.Sprintf("%q", token), true},
		{"in a query", "t=aZ3%22%3Ck%259+Qm7%2F%2BxY%3Dtb", true},
		{"in a path", "aZ3%22%3Ck%259%20Qm7%2F+xY=tb", true},
		{"in HTML", "aZ3&#34;&lt;k%9 Qm7/+xY=tb", true},
		{"in hex", "615a33223c6b2539", true},
		{"in base64", "YVozIjxrJTkgUW03Lyt4WT10Yg==", true},
		{"in base64 one later", "eGFaMyI8ayU5IFFtNy8reFk9dGI=", true},
		{"in base64 two later", "QmFhWjMiPGslOSBRbTcvK3hZPXRi", true},
		{"broken into lines", "aZ3\"<\nk%9\r\n Q\tm7", true},
		{"a few characters", token[:7], false},
		{"something else", "Invalid token.", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.in(tt.text); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
		})
	}
}

func TestErrorOfTheReaderShowsNoSecretAndUnwrapsToNothing(t *testing.T) {
	const token = "averysecrettoken"
	credentials, _ := NewCredentials(func() ([]string, error) { return []string{token}, nil })
	c := NewCaller(CallerOptions{Provider: "test", Credentials: credentials})
	inner := fmt.Errorf("parsing time %q: %w", token, context.DeadlineExceeded)
	err := c.classify(t.Context(), "ask", &exchange{status: 200}, inner)
	for e := err; e != nil; e = errors.Unwrap(e) {
		if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, token) {
			t.Errorf("secret shows in %q", text)
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want the cause to be found, got %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	const token = "tokentoken1234567890"
	f.Add(400, `{"detail":"x"}`, "7", "/elsewhere", "id")
	f.Add(302, `<html>`+token, "Sat, 21 Nov 2026 12:00:30 GMT", "http://h/", token)
	f.Add(200, "\x00\xff", "-1", "::", "")
	credentials, _ := NewCredentials(func() ([]string, error) { return []string{token}, nil })
	c := NewCaller(CallerOptions{Provider: "test", Credentials: credentials})
	f.Fuzz(func(t *testing.T, status int, body, after, location, id string) {
		h := http.Header{"Retry-After": {after}, "Location": {location}, "X-Request-Id": {id}, "Content-Type": {id}}
		err := c.classify(t.Context(), "ask", &exchange{status: status, header: h, body: []byte(body)}, errors.New(body))
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("want an *Error, got %v", err)
		}
		if text := err.Error(); strings.Contains(text, token) || strings.ContainsAny(text, "\r\n\x1b") || len(text) > 4000 {
			t.Errorf("unfit to be shown: %q", text)
		}
		if e.Wait < 0 || e.Wait > maxWait {
			t.Errorf("wait out of bounds: %s", e.Wait)
		}
	})
}
