package config_test

import (
	"testing"

	"berth/config"
)

func TestWayInWhichFloatingIPsArePointed(t *testing.T) {
	elected := []config.ElectionInstance{{Name: "api"}}
	for _, row := range []struct {
		name     string
		provider string
		elected  []config.ElectionInstance
		dryRun   bool
		want     config.Pointing
	}{
		{"neither provider nor election", "", nil, false, config.Unchosen},
		{"neither, dry run", "", nil, true, config.Print},
		{"election without a provider", "", elected, false, config.Nothing},
		{"election without a provider, dry run", "", elected, true, config.Nothing},
		{"none", "none", nil, false, config.Nothing},
		{"none, dry run", "none", nil, true, config.Nothing},
		{"election with none", "none", elected, false, config.Nothing},
		{"fake", "fake", nil, false, config.Print},
		{"election with fake", "fake", elected, false, config.Print},
		{"a cloud", "cloudscale", nil, false, config.Call},
		{"a cloud, dry run", "cloudscale", nil, true, config.Print},
		{"election with a cloud", "exec", elected, false, config.Call},
	} {
		c := config.Config{Provider: row.provider, Election: config.Election{Instances: row.elected}}
		if got := c.Pointing(row.dryRun); got != row.want {
			t.Errorf("%s: want %d, got %d", row.name, row.want, got)
		}
	}
}
