package exoscale

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	sdk "github.com/exoscale/egoscale/v3"
	"go.uber.org/zap"

	"berth/providers"
)

const (
	// An operation is asked for 100 ms after it was accepted, then after twice as
	// long each time, up to 2 s. The SDK's own wait begins with 3 s.
	firstPoll = 100 * time.Millisecond
	maxPoll   = 2 * time.Second
	// maxPollErrors in a row, and the state is asked for instead.
	maxPollErrors = 5

	// freshSeen is how long it counts that this host was seen attached: then
	// attaching would be a needless write, and is replaced by another look.
	freshSeen = 5 * time.Second
)

// attach begins to attach this host. It returns nil if it is attached already,
// which it does not ask first unless it was so a moment ago.
func (c *Client) attach(ctx context.Context, to claim) (*sdk.Operation, error) {
	if c.seenLately(to.eip) {
		me, err := c.own(ctx, to.instance)
		if err != nil {
			return nil, err
		}
		if me.eips[to.eip] {
			c.saw(me)
			c.moved(to.eip)
			return nil, nil
		}
	}
	if err := c.permitted(to); err != nil {
		return nil, err
	}
	var op *sdk.Operation
	err := c.call(ctx, opAttach, func(ctx context.Context, api *sdk.Client) (err error) {
		op, err = api.AttachInstanceToElasticIP(ctx, sdk.UUID(to.eip),
			sdk.AttachInstanceToElasticIPRequest{Instance: &sdk.InstanceTarget{ID: sdk.UUID(to.instance)}})
		return err
	})
	if err == nil {
		return op, nil
	}
	if refused(err) {
		// It may be what attaching the attached looks like.
		if me, readErr := c.own(ctx, to.instance); readErr == nil && me.eips[to.eip] {
			c.saw(me)
			c.moved(to.eip)
			return nil, nil
		}
	}
	return nil, err
}

// refused tells whether the API answered that it will not do what it was asked,
// for a reason that can be that it was done before.
func refused(err error) bool {
	e, ok := errors.AsType[*providers.Error](err)
	return ok && e.Status >= 400 && e.Status <= 499 && e.Kind != providers.Auth && e.Kind != providers.RateLimited
}

// attached waits until the operation is over and makes sure that this host has
// the elastic IP: only its own record can tell, and nobody may be detached before.
func (c *Client) attached(ctx context.Context, to claim, op *sdk.Operation) error {
	if op == nil {
		return nil
	}
	opErr := c.await(ctx, opAttach, op)
	if ctx.Err() != nil {
		return opErr
	}
	// Claims that end at the same time share a look; one that has this host in it
	// is proof, whoever began it.
	me, err := c.reading.Do(ctx, to.instance, func(ctx context.Context) (instance, error) {
		return c.own(ctx, to.instance)
	})
	if err == nil && !me.eips[to.eip] {
		me, err = c.own(ctx, to.instance)
	}
	switch {
	case err != nil:
		return providers.SharedError(ctx, name, opSelf, err)
	case me.eips[to.eip]:
		c.saw(me)
		c.moved(to.eip)
		return nil
	case opErr != nil && !errors.Is(opErr, errLost):
		return opErr
	}
	return c.caller.Refused(opAttach, providers.Transient, "accepted, but this instance does not have it")
}

// detach takes the elastic IP away from another instance, whose own record has it.
func (c *Client) detach(ctx context.Context, to claim, other instance) error {
	if err := c.permitted(to); err != nil {
		return err
	}
	c.log.Info("detaching another holder of the elastic IP", zap.String("provider", name), zap.String("elastic_ip", to.eip), zap.Stringer("holder", other))
	var op *sdk.Operation
	err := c.call(ctx, opDetach, func(ctx context.Context, api *sdk.Client) (err error) {
		op, err = api.DetachInstanceFromElasticIP(ctx, sdk.UUID(to.eip),
			sdk.DetachInstanceFromElasticIPRequest{Instance: &sdk.InstanceTarget{ID: sdk.UUID(other.id)}})
		return err
	})
	switch {
	case err == nil:
		err = c.await(ctx, opDetach, op)
	case !refused(err):
		return err
	}
	if err == nil {
		return nil // the look that follows a claim is the proof
	}
	now, readErr := c.instance(ctx, opInstance, other.id)
	if e, ok := errors.AsType[*providers.Error](readErr); ok && e.Status == http.StatusNotFound {
		return nil // the instance itself is gone
	}
	switch {
	case readErr == nil && !now.eips[to.eip]:
		return nil
	case errors.Is(err, errLost):
		return c.caller.Refused(opDetach, providers.Transient, fmt.Sprintf("accepted, but %s still has it", other))
	}
	return err
}

// errLost tells that nobody knows how an operation ended.
var errLost = errors.New("operation is not known any more")

// await asks for an operation until it is over. It returns nil if it succeeded,
// errLost if that cannot be told, and else why it failed; in both latter cases the
// state may still be as wanted.
func (c *Client) await(ctx context.Context, what string, op *sdk.Operation) error {
	asked, gap, failures := time.Now(), firstPoll, 0
	for op.State == sdk.OperationStatePending && op.ID != "" {
		wait := time.NewTimer(time.Until(asked.Add(gap)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return providers.EndedError(ctx, name, what)
		}
		asked, gap = time.Now(), min(2*gap, maxPoll)
		var now *sdk.Operation
		err := c.call(ctx, opWatch, func(ctx context.Context, api *sdk.Client) (err error) {
			now, err = api.GetOperation(ctx, op.ID)
			return err
		})
		e, _ := errors.AsType[*providers.Error](err)
		switch {
		case err == nil:
			op, failures = now, 0
		case e != nil && e.Status == http.StatusNotFound:
			return errLost
		case e == nil || e.Kind == providers.Auth || e.Kind == providers.RateLimited || ctx.Err() != nil:
			return err // asking again would make it worse
		default:
			if failures++; failures == maxPollErrors {
				return errLost
			}
		}
	}
	switch op.State {
	case sdk.OperationStateSuccess:
		return nil
	case sdk.OperationStateFailure, sdk.OperationStateTimeout:
		return c.caller.Refused(what, kindOf(op.Reason), fmt.Sprintf("operation ended as %s: %s: %s", op.State, op.Reason, op.Message))
	}
	return errLost
}

// kindOf tells what the reason of a failed operation means.
func kindOf(reason sdk.OperationReason) providers.Kind {
	switch reason {
	case sdk.OperationReasonForbidden:
		return providers.Auth
	case sdk.OperationReasonIncorrect, sdk.OperationReasonUnsupported:
		return providers.Invalid
	}
	return providers.Transient // busy, conflict, unavailable, and what may pass
}
