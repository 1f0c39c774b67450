// Forwards ports of pods as a kubelet does, by its own code: whatever pod is named, it is a port of this machine.
// Prints the port that it listens on; ends with its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

type here struct{}

func (here) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer connection.Close()
	done := make(chan struct{}, 2)
	carry := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go carry(connection, stream)
	go carry(stream, connection)
	<-done
	return nil
}

func main() {
	http.HandleFunc("/api/v1/namespaces/{namespace}/pods/{pod}/portforward", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+os.Args[1] {
			http.Error(w, "not yours", http.StatusForbidden)
			return
		}
		query := r.URL.Query()
		query.Set("port", query.Get("ports")) // so the API server calls it when it asks the node
		r.URL.RawQuery = query.Encode()
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, here{}, r.PathValue("pod"), "", options, time.Hour, 30*time.Second, portforward.SupportedProtocols)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	panic(http.Serve(listener, nil))
}
