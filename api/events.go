package api

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	served = journal.Kind{Code: "api-served", Level: zap.InfoLevel,
		Text: "the management API is served"}
	unservable = journal.Kind{Code: "api-unservable", Level: zap.WarnLevel,
		Text: "cannot serve the management API; trying again", Over: served.Text}
	open = journal.Kind{Code: "api-open", Level: zap.WarnLevel,
		Text: "the management API has no credentials: it serves this host alone, and every user of this host can use it"}
	plain = journal.Kind{Code: "api-unencrypted", Level: zap.WarnLevel,
		Text: "the management API has credentials without TLS: they cross the network in clear text"}
	exposed = journal.Kind{Code: "api-password-unencrypted", Level: zap.WarnLevel,
		Text: "the password for the management API crosses the network in clear text; write https:// in --url"}
	refused = journal.Kind{Code: "api-login-failed", Level: zap.WarnLevel,
		Text: "a client of the management API has a wrong user or password", Over: "no client of the management API has failed to log in for ten minutes"}
	stale = journal.Kind{Code: "api-certificate-unusable", Level: zap.ErrorLevel, Distinct: true, Lasting: 3 * certificateAgain,
		Text: "cannot use the certificate of the management API; the former one stays in use", Over: "the certificate of the management API is used"}
	broken = journal.Kind{Code: "api-request-failed", Level: zap.ErrorLevel, Distinct: true,
		Text: "a request to the management API failed by a fault of berth"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{served, unservable, open, plain, exposed, refused, stale, broken}

// conditions are what can be wrong with a server for some time.
type conditions struct{ logins, certificate, requests *journal.Condition }

func newConditions(j *journal.Journal) conditions {
	return conditions{logins: j.Condition(), certificate: j.Condition(), requests: j.Condition()}
}

func (c conditions) drop() {
	c.logins.Drop()
	c.certificate.Drop()
	c.requests.Drop()
}
