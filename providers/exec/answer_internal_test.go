package exec

import (
	"testing"

	"berth/providers"
)

func FuzzAnswer(f *testing.F) {
	f.Add(`{"error":{"retry_after":1e999}}`)
	f.Add(`{"error":{"kind":"auth","message":"no","retry_after":-1}}`)
	f.Add(`{"id":"4711"}`)
	f.Add(`[`)
	c := &Client{caller: providers.NewCaller(providers.CallerOptions{Provider: name})}
	f.Fuzz(func(t *testing.T, text string) {
		var answer struct {
			ID string `json:"id"`
		}
		err := c.read("claim", []byte(text), nil, &answer)
		e, ok := err.(*providers.Error)
		if err != nil && (!ok || e.Wait < 0 || e.Wait > maxRetryAfter || len(err.Error()) > 2000) {
			t.Errorf("unfit: %v", err)
		}
	})
}
