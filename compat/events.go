package compat

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	passwordWritten = journal.Kind{Code: "etcd-password-written", Level: zap.WarnLevel,
		Text: "a password stands in a configuration or in the environment, where it can be read; put it into a file of root and give systemd the credential etcd.password (LoadCredential=etcd.password:FILE)"}
	ttlRaised = journal.Kind{Code: "ttl-raised", Level: zap.WarnLevel,
		Text: "the ttl is shorter than berth can hold; a longer one is used"}
	netmaskUnused = journal.Kind{Code: "netmask-unused", Level: zap.InfoLevel,
		Text: "the netmask has no effect: addresses are bound as /32 and /128, others where their key is ips/ADDRESS/LENGTH"}
	labelUnused = journal.Kind{Code: "label-unused", Level: zap.InfoLevel,
		Text: "the label has no effect: berth has a record of its addresses"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{passwordWritten, ttlRaised, netmaskUnused, labelUnused}
