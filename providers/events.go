package providers

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

// Kinds of which several clouds tell.
var (
	LookingUpAgain = journal.Kind{Code: "provider-ids-refused", Level: zap.InfoLevel,
		Text: "the provider refuses an id that was known; looking it up again"}
	ServerChanged = journal.Kind{Code: "provider-server-changed", Level: zap.WarnLevel,
		Text: "this host's server id has changed"}
	SomeLeftOut = journal.Kind{Code: "provider-list-unreadable", Level: zap.WarnLevel,
		Text: "floating IPs that cannot be read are left out",
		Over: "all floating IPs of the account can be read"}
)

var (
	hostnameUnreadable = journal.Kind{Code: "host-name-unreadable", Level: zap.WarnLevel,
		Text: "cannot read host name"}
	credentialsUnreadable = journal.Kind{Code: "provider-credentials-unreadable", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot read credentials again", Over: "credentials can be read again, or are accepted as they were"}
	credentialsChanged = journal.Kind{Code: "provider-credentials-changed", Level: zap.InfoLevel,
		Text: "credentials have changed; trying again with the new ones"}
	idsIgnored = journal.Kind{Code: "provider-ids-ignored", Level: zap.WarnLevel,
		Text: "ignoring cached ids"}
	idsUnwritable = journal.Kind{Code: "provider-ids-unwritable", Level: zap.WarnLevel,
		Text: "cannot store ids for the next start", Over: "ids are stored for the next start again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{LookingUpAgain, ServerChanged, SomeLeftOut,
	hostnameUnreadable, credentialsUnreadable, credentialsChanged, idsIgnored, idsUnwritable}
