// Go's net/http as a client; see README.md.
//
//	client URL SCENARIO [ARGUMENT...]
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const kept = 4

var (
	base      string
	transport = &http.Transport{
		MaxIdleConnsPerHost:   kept,
		ExpectContinueTimeout: 30 * time.Second,
	}
	client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
)

type line map[string]interface{}

func say(what line) {
	text, _ := json.Marshal(what)
	fmt.Println(string(text))
}

// A body of unknown length, which knows whether any of it was asked for.
type reader struct {
	io.Reader
	used bool
}

func (it *reader) Read(data []byte) (int, error) {
	it.used = true
	return it.Reader.Read(data)
}

// Ask; `expected` is the length of a body that waits for 100, or 0.
func ask(method, path string, body io.Reader, expected int64) (int, string, error) {
	request, err := http.NewRequest(method, base+path, body)
	if err != nil {
		return 0, "", err
	}
	if expected > 0 {
		request.ContentLength = expected
		request.Header.Set("Expect", "100-continue")
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func tell(method, path string, body io.Reader) {
	status, text, err := ask(method, path, body, 0)
	if err != nil {
		say(line{"error": err.Error()})
		return
	}
	say(line{"status": status, "body": text})
}

func early(paths string, size int, framing string) {
	for _, path := range strings.Split(paths, ",") {
		var body io.Reader = bytes.NewReader(make([]byte, size))
		if framing == "chunked" {
			body = &reader{Reader: body}
		}
		tell("POST", path, body)
		tell("POST", "/upload", strings.NewReader("small"))
	}
}

func expect(paths string, size int) {
	for _, path := range strings.Split(paths, ",") {
		body := &reader{Reader: bytes.NewReader(make([]byte, size))}
		status, text, err := ask("POST", path, body, int64(size))
		if err != nil {
			say(line{"error": err.Error()})
		} else {
			say(line{"status": status, "body": text, "sent": body.used})
		}
		tell("POST", "/upload", strings.NewReader("small"))
	}
}

func halfClose() {
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		panic(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	request, _ := http.NewRequest("GET", base+"/slow", nil)
	request.Write(conn)
	conn.(*net.TCPConn).CloseWrite()
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		say(line{"error": err.Error()})
		return
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		say(line{"error": err.Error()})
		return
	}
	say(line{"status": answer.StatusCode, "body": string(text)})
}

func renewal() {
	var group sync.WaitGroup
	var lock sync.Mutex
	failures := []string{}
	requests := 0
	ended := make(chan bool)
	check := func(method, path, body, wanted string) {
		status, text, err := ask(method, path, strings.NewReader(body), 0)
		lock.Lock()
		defer lock.Unlock()
		requests++
		if err != nil {
			failures = append(failures, err.Error())
		} else if status != 200 || text != wanted {
			failures = append(failures, fmt.Sprint(status, text))
		}
	}
	for number := 0; number < kept; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			for turn := 1; ; turn++ {
				select {
				case <-ended:
					return
				default:
				}
				check("GET", "/", "", "Hello world!")
				check("POST", "/upload", "small", "5")
				if number == 0 && turn%10 == 0 {
					fmt.Println("more")
				}
			}
		}(number)
	}
	io.ReadAll(os.Stdin)
	close(ended)
	group.Wait()
	say(line{"requests": requests, "failures": failures})
}

func main() {
	base = os.Args[1]
	size := 0
	if len(os.Args) > 4 {
		size, _ = strconv.Atoi(os.Args[4])
	}
	switch os.Args[2] {
	case "early":
		early(os.Args[3], size, os.Args[5])
	case "expect":
		expect(os.Args[3], size)
	case "half-close":
		halfClose()
	case "renewal":
		renewal()
	}
}
