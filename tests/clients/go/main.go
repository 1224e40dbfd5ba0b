// The walk of zishang520's socket.io client: see ../matrix/walk.js.
//
// Guarantees: one JSON object a line on standard output; exit code 0 only at the end of the walk.
// It is not a test: the driver judges.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	"github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// What the driver wants.
type walk struct {
	URL         string         `json:"url"`
	Token       string         `json:"token"`
	Wrong       string         `json:"wrong"`
	Channel     string         `json:"channel"`
	Publication map[string]any `json:"publication"`
	Live        float64        `json:"live"`
	Last        float64        `json:"last"`
	Transports  []string       `json:"transports"`
}

type fields = map[string]any

func say(name string, rest fields) {
	line := fields{"say": name}
	for key, value := range rest {
		line[key] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func (w *walk) open(token string, reconnection bool) *socket.Socket {
	options := socket.DefaultOptions()
	options.SetAuth(fields{"token": token})
	options.SetForceNew(true)
	options.SetReconnection(reconnection)
	options.SetReconnectionDelay(50)
	options.SetReconnectionDelayMax(500)
	set := types.NewSet[transports.TransportCtor]()
	for _, name := range w.Transports {
		set.Add(map[string]transports.TransportCtor{"polling": transports.Polling, "websocket": transports.WebSocket}[name])
	}
	options.SetTransports(set)
	client, err := socket.Connect(w.URL, options)
	if err != nil {
		panic(err)
	}
	return client
}

// Waits for the refusal of a wrong token, and says it.
func (w *walk) refused() {
	began := time.Now()
	client := w.open(w.Wrong, false)
	told := make(chan error, 1)
	client.On("connect_error", func(arguments ...any) {
		if err, ok := arguments[0].(error); ok {
			select {
			case told <- err:
			default:
			}
		}
	})
	client.On("connect", func(...any) { panic("a wrong token was let in") })
	err := <-told
	said := fields{"message": err.Error(), "afterMs": time.Since(began).Milliseconds()}
	var extended *types.ExtendedError
	if errors.As(err, &extended) {
		said["message"], said["data"] = extended.Message, extended.Data
	}
	say("refused", said)
	client.Disconnect()
}

// Follows the channel from the beginning, from where it was after each reconnect, up to the last note.
func (w *walk) follow() {
	client, done := w.open(w.Token, true), make(chan struct{})
	position := fields{"seq": 0}
	client.On("connect", func(...any) {
		request := fields{"channel": w.Channel, "since": position}
		client.EmitWithAck("subscribe", request)(func(arguments []any, err error) {
			if err != nil || len(arguments) == 0 {
				return
			}
			answer, _ := arguments[0].(fields)
			say("subscribed", fields{"answer": answer})
			position = fields{"epoch": answer["epoch"], "seq": position["seq"]}
		})
	})
	client.On("message", func(arguments ...any) {
		message, _ := arguments[0].(fields)
		data, _ := message["data"].(fields)
		if message["type"] == "server.hello" {
			say("hello", fields{"data": data})
		}
		// A notice about the channel has no number.
		if message["channel"] != w.Channel || message["seq"] == nil {
			return
		}
		position = fields{"epoch": position["epoch"], "seq": message["seq"]}
		say("note", fields{"n": data["n"], "seq": message["seq"]})
		switch data["n"] {
		case w.Live:
			client.EmitWithAck("publish", w.Publication)(func(arguments []any, err error) {
				if err == nil && len(arguments) > 0 {
					say("published", fields{"answer": arguments[0]})
				}
			})
		case w.Last:
			close(done)
		}
	})
	<-done
	client.Disconnect()
}

func main() {
	var w walk
	if err := json.Unmarshal([]byte(os.Getenv("WALK")), &w); err != nil {
		panic(err)
	}
	w.refused()
	w.follow()
	say("done", nil)
}
