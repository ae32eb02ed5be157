package cloudscale

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var (
	variableIgnored = journal.Kind{Code: "cloudscale-variable-ignored", Level: zap.WarnLevel,
		Text: "environment variable is ignored, set cloudscale.endpoint instead"}
	sentInClear = journal.Kind{Code: "cloudscale-token-in-clear", Level: zap.WarnLevel,
		Text: "token is sent in clear text"}
	hostNotListed = journal.Kind{Code: "cloudscale-host-not-listed", Level: zap.WarnLevel,
		Text: "hostname-to-server-uuid has no entry for this host, the metadata service is asked"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{variableIgnored, sentInClear, hostNotListed}
