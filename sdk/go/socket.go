package s9s

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A WebSocket (RFC 6455) over what net/http connects, which is all that updates need: text comes whole, and what is sent
// fits one frame.
type socket struct {
	stream io.ReadWriteCloser
	reader *bufio.Reader
	cancel context.CancelFunc
	timer  *time.Timer
	mutex  sync.Mutex
}

const (
	opText, opClose, opPing, opPong = 0x1, 0x8, 0x9, 0xA
	longestMessage                  = 64_000_000
)

func (client *Client) openSocket(path string, query url.Values) (*socket, error) {
	ctx, cancel := context.WithCancel(client.context)
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		panic(err) // the system has no randomness to give
	}
	header := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {base64.StdEncoding.EncodeToString(key[:])},
	}
	response, err := client.send(ctx, cancel, http.MethodGet, path, query, nil, header)
	if err != nil {
		cancel()
		return nil, err
	}
	stream, ok := response.Body.(io.ReadWriteCloser)
	if response.StatusCode != http.StatusSwitchingProtocols || !ok {
		response.Body.Close()
		cancel()
		return nil, &ConnectionError{Err: errors.New("no WebSocket was opened: " + response.Status)}
	}
	// The server pings more often; who is silent for longer is not there any more.
	timer := time.AfterFunc(silence, cancel)
	made := &socket{stream: stream, reader: bufio.NewReader(stream), cancel: cancel, timer: timer}
	go func() {
		<-ctx.Done()
		stream.Close()
	}()
	return made, nil
}

func (socket *socket) close() {
	_ = socket.write(opClose, []byte{0x03, 0xE8}) // 1000
	socket.timer.Stop()
	socket.cancel()
}

func (socket *socket) send(text []byte) error { return socket.write(opText, text) }

func (socket *socket) write(op byte, data []byte) error {
	frame := []byte{0x80 | op}
	switch {
	case len(data) < 126:
		frame = append(frame, 0x80|byte(len(data)))
	case len(data) < 1<<16:
		frame = append(frame, 0x80|126, byte(len(data)>>8), byte(len(data)))
	default:
		return errors.New("the message is too long")
	}
	var mask [4]byte
	if _, err := rand.Read(mask[:]); err != nil {
		return err
	}
	frame = append(frame, mask[:]...)
	for at, value := range data {
		frame = append(frame, value^mask[at%4])
	}
	socket.mutex.Lock()
	defer socket.mutex.Unlock()
	_, err := socket.stream.Write(frame)
	return err
}

// receive returns the next text, put together of its frames, and answers pings meanwhile.
func (socket *socket) receive() ([]byte, error) {
	var whole []byte
	for {
		isLast, op, data, err := socket.readFrame()
		if err != nil {
			return nil, err
		}
		socket.timer.Reset(silence)
		switch op {
		case opPing:
			if err := socket.write(opPong, data); err != nil {
				return nil, err
			}
		case opPong:
		case opClose:
			if len(data) < 2 {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("the server closed with %d %s", binary.BigEndian.Uint16(data), data[2:])
		default:
			if whole = append(whole, data...); isLast {
				return whole, nil
			}
			if len(whole) > longestMessage {
				return nil, errors.New("the message is too long")
			}
		}
	}
}

func (socket *socket) readFrame() (isLast bool, op byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(socket.reader, head[:]); err != nil {
		return false, 0, nil, err
	}
	length := uint64(head[1] & 0x7F)
	if length >= 126 {
		size := map[uint64]int{126: 2, 127: 8}[length]
		var long [8]byte
		if _, err := io.ReadFull(socket.reader, long[8-size:]); err != nil {
			return false, 0, nil, err
		}
		length = binary.BigEndian.Uint64(long[:])
	}
	if length > longestMessage {
		return false, 0, nil, errors.New("the message is too long")
	}
	data = make([]byte, length)
	_, err = io.ReadFull(socket.reader, data)
	return head[0]&0x80 != 0, head[0] & 0x0F, data, err
}
