package config

// Pointing is what is done about floating IPs.
type Pointing int

// The values of Pointing.
const (
	// Unchosen means that there is neither a provider nor an election. No mode
	// can begin with that.
	Unchosen Pointing = iota
	// Nothing means that there are no floating IPs: the provider is none, or an
	// election has no provider. The addresses on the hosts are all there is, and
	// nobody else can tell who has them.
	Nothing
	// Print means that a line is printed in place of each call: the provider is
	// fake, or the run is a dry one.
	Print
	// Call means that the API of the provider is called.
	Call
)

// Pointing returns what is done about floating IPs; dryRun is the flag. It is the
// only place that decides this.
func (c *Config) Pointing(dryRun bool) Pointing {
	switch {
	case c.Provider == "none", c.Provider == "" && len(c.Election.Instances) > 0:
		return Nothing
	case c.Provider == "fake", dryRun:
		return Print
	case c.Provider == "":
		return Unchosen
	}
	return Call
}
