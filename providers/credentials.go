package providers

import (
	"slices"
	"sync"
)

// Credentials are the secrets with which requests to a provider are made. They can
// change while berth runs, as those in a file do. They are safe for concurrent use.
type Credentials struct {
	load func() ([]string, error)

	mu         sync.Mutex // guards all below
	values     []string
	generation int
	seen       secrets // of these and all former values
}

// NewCredentials returns what load returns, which is asked again when the API
// refuses the values. Its errors must show no secret.
func NewCredentials(load func() ([]string, error)) (*Credentials, error) {
	values, err := load()
	if err != nil {
		return nil, err
	}
	return &Credentials{load: load, values: values, seen: newSecrets(values)}, nil
}

// Values returns the secrets as they were read last.
func (c *Credentials) Values() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.values)
}

// Generation counts how often the values have changed.
func (c *Credentials) Generation() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// renew reads the values again, unless another call has done so since the generation
// was used, and tells whether they differ from those of that generation.
func (c *Credentials) renew(used int) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != used {
		return true, nil
	}
	if c.load == nil {
		return false, nil
	}
	values, err := c.load()
	if err != nil || slices.Equal(values, c.values) {
		return false, err
	}
	c.values = values
	c.generation++
	c.seen = append(c.seen, newSecrets(values)...)
	return true, nil
}

// clean returns the text as it may be shown, see secrets.clean.
func (c *Credentials) clean(text string, max int) string {
	c.mu.Lock()
	seen := c.seen
	c.mu.Unlock()
	return seen.clean(text, max)
}
