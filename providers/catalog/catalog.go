// Package catalog lists the providers that berth has. Adding a cloud adds a line
// here; package providers cannot have the list, because every cloud imports it.
package catalog

import (
	"berth/providers"
	"berth/providers/cloudscale"
	"berth/providers/exec"
	"berth/providers/exoscale"
	"berth/providers/fake"
	"berth/providers/hetzner"
	"berth/providers/none"
	"berth/providers/webhook"
)

// Providers are all providers, by their names in the configuration.
var Providers = providers.Registry{
	"cloudscale": cloudscale.Entry,
	"exec":       exec.Entry,
	"exoscale":   exoscale.Entry,
	"fake":       fake.Entry,
	"hetzner":    hetzner.Entry,
	"none":       none.Entry,
	"webhook":    webhook.Entry,
}

// Events are the kinds of events that the providers declare.
var Events = Providers.Events()
