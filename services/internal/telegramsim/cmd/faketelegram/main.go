// Command faketelegram serves a simulated Telegram Bot API for one bot, with a
// control API under /control/ to write to the bot, see what it sends and make
// its calls fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"telecodex.dev/services/internal/telegramsim"
)

// usage comes before the flags. What the paths take is in package telegramsim.
const usage = `faketelegram serves a simulated Telegram Bot API for one bot, and a control API (JSON in, JSON out):

  POST   /control/inject         {"chat_id": 1, "text": "hello"}: write to the bot
  POST   /control/callback       press a button
  POST   /control/raw            {"update": …}: any update
  GET    /control/messages       ?chat_id=1: what the bot has sent; /wait: once there are &count=
  GET    /control/calls          ?method=sendMessage: what the bot has called; /wait
  GET    /control/actions        ?chat_id=1: "typing" and the like
  GET    /control/state          what waits, and how far the bot has confirmed; /wait
  POST   /control/fail           {"method": "sendMessage", "count": 1, "status": 502}: make calls fail
  DELETE /control/fail           no more
  POST   /control/limits         rates beyond which calls are refused
  POST   /control/next_update_id {"id": 7}: the id of the next update
  POST   /control/webhook        {"url": "https://…"}: set one, which ends polls
  POST   /control/delete_topic   {"chat_id": 1, "topic_id": 2}

`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until SIGINT or SIGTERM. It returns the exit status: 0, 1 when the
// server fails, 2 for wrong arguments.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("faketelegram", flag.ContinueOnError)
	flags.SetOutput(stderr)
	address := flags.String("addr", "127.0.0.1:8081", "address to listen on; port 0 picks a free one")
	token := flags.String("token", telegramsim.DefaultToken, "bot token")
	addressFile := flags.String("addr-file", "", "file to write the chosen host:port to")
	username := flags.String("bot-username", "", "bot's user name, without @")
	verbose := flags.Bool("verbose", false, "write a line for every call to stderr")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "faketelegram: unknown argument: %s\n", flags.Arg(0))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := telegramsim.Options{Token: *token, BotUsername: *username}
	if *verbose {
		o.OnCall = narrator(stderr)
	}
	if err := serve(ctx, *address, *addressFile, o, stdout); err != nil {
		fmt.Fprintf(stderr, "faketelegram: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, address, addressFile string, o telegramsim.Options, stdout io.Writer) error {
	server, err := telegramsim.Start(address, o)
	if err != nil {
		return err
	}
	defer server.Close()
	if addressFile != "" {
		if err := writeFile(addressFile, strings.TrimPrefix(server.URL, "http://")); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "faketelegram listening on %s\n", server.URL)
	<-ctx.Done()
	return nil
}

// writeFile renames a finished file into place, so that whoever waits for it
// never reads half of it.
func writeFile(path, text string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = temp.WriteString(text)
	if err = errors.Join(err, temp.Chmod(0o644), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}

// narrator writes a line for each call: the method, the chat and the status,
// never a text.
func narrator(w io.Writer) func(telegramsim.Call) {
	var mu sync.Mutex
	return func(c telegramsim.Call) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%s %s chat=%d status=%d\n", c.At.Format("15:04:05.000"), c.Method, c.ChatID, c.Status)
	}
}
