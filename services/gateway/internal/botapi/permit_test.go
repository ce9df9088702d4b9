package botapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"telecodex.dev/services/gateway/internal/botapi"
)

func TestACallThatIsNotPermittedIsNotMadeAndNotInDoubt(t *testing.T) {
	made := 0
	client, err := botapi.New(botapi.Options{Token: func() string { return "1:token" }, BaseURL: "http://localhost",
		Permit:    func(context.Context) error { return errors.New("somebody else has it") },
		Transport: counting(func() { made++ })})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.SendMessage(t.Context(), botapi.SendMessage{ChatID: 1, Text: "x"})
	var failure *botapi.Error
	if !errors.As(err, &failure) || failure.InDoubt || failure.Retry != botapi.RetryTransient || made != 0 {
		t.Errorf("%d calls, %+v", made, err)
	}
}

// counting is a transport that counts, and carries nothing.
type counting func()

func (c counting) RoundTrip(*http.Request) (*http.Response, error) {
	c()
	return nil, errors.New("nothing is carried")
}
