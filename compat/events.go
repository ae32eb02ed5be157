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
	apiPasswordWritten = journal.Kind{Code: "api-password-written", Level: zap.WarnLevel,
		Text: "the password of the management API stands in the environment, where it can be read; put it into a file of root and give systemd the credential api.password (LoadCredential=api.password:FILE)"}
	// The warning is that of the management API, which says that it has no credentials.
	userWithoutPassword = journal.Kind{Code: "user-without-password", Level: zap.InfoLevel,
		Text: "USER is set and PASSWORD is not, as in a login shell: the management API has no credentials"}
	variableUnused = journal.Kind{Code: "variable-unused", Level: zap.InfoLevel,
		Text: "a variable of LinK has no effect"}
	secretWritten = journal.Kind{Code: "secret-written", Level: zap.WarnLevel,
		Text: "secrets stand in the command line or in the environment, where they can be read; put each into a file of root"}
	endpointRetired = journal.Kind{Code: "endpoint-retired", Level: zap.WarnLevel,
		Text: "the endpoint is that of the API of CloudStack, which Exoscale has retired; the API of the zone is used, so leave the endpoint out"}
	bindTwice = journal.Kind{Code: "bind-address-twice", Level: zap.WarnLevel,
		Text: "IF_BIND_ADDRESS and IF_BIND_TO differ; IF_BIND_ADDRESS counts, so remove the other one"}
	optionUnused = journal.Kind{Code: "option-unused", Level: zap.InfoLevel,
		Text: "a flag of exoip has no effect"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{passwordWritten, ttlRaised, netmaskUnused, labelUnused, apiPasswordWritten, userWithoutPassword, variableUnused, secretWritten,
	endpointRetired, bindTwice, optionUnused}
