package main

import (
	"context"
	"errors"
	"log"
	"net/netip"
	"sync"
	"time"

	"github.com/florianl/go-nfqueue"
	"github.com/mdlayher/netlink"
)

const (
	// How long a sender may be unknown. The kubelet reports a new pod's address within two seconds.
	patience = 15 * time.Second
	pause    = 20 * time.Millisecond

	// The position of the sender's address in an IPv4 header, and the requested length of a packet.
	senderStart, senderEnd = 12, 16
	headerLength           = 20
)

// hold serves a queue. It accepts a packet when its sender is known, and drops it if that does not happen in time.
func hold(ctx context.Context, queue int, known func(address string) bool) (func(), error) {
	nfq, err := nfqueue.Open(&nfqueue.Config{
		NfQueue:      uint16(queue),
		Flags:        nfqueue.NfQaCfgFlagGSO,
		MaxPacketLen: headerLength,
		MaxQueueLen:  4096,
		Copymode:     nfqueue.NfQnlCopyPacket,
		WriteTimeout: 100 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	var writing sync.Mutex
	decide := func(packet uint32, verdict int) {
		writing.Lock()
		defer writing.Unlock()
		if err := nfq.SetVerdict(packet, verdict); err != nil {
			log.Printf("cannot answer for a packet: %v", err)
		}
	}
	receive := func(packet nfqueue.Attribute) int {
		sender, ok := senderOf(packet.Payload)
		switch {
		case !ok:
			decide(*packet.PacketID, nfqueue.NfDrop)
		case known(sender):
			decide(*packet.PacketID, nfqueue.NfAccept)
		default:
			go func() { decide(*packet.PacketID, await(ctx, sender, known)) }()
		}
		return 0
	}
	failed := func(err error) int {
		var operation *netlink.OpError
		if !errors.As(err, &operation) || !(operation.Timeout() || operation.Temporary()) {
			log.Printf("cannot receive a packet: %v", err)
		}
		return 0
	}
	if err := nfq.RegisterWithErrorFunc(ctx, receive, failed); err != nil {
		return nil, errors.Join(err, nfq.Close())
	}
	return func() { _ = nfq.Close() }, nil
}

func senderOf(payload *[]byte) (string, bool) {
	if payload == nil || len(*payload) < headerLength || (*payload)[0]>>4 != 4 {
		return "", false
	}
	address, ok := netip.AddrFromSlice((*payload)[senderStart:senderEnd])
	return address.String(), ok
}

// await returns the verdict on a packet whose sender is not known yet.
func await(ctx context.Context, sender string, known func(string) bool) int {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if known(sender) {
			return nfqueue.NfAccept
		}
		time.Sleep(pause)
	}
	log.Printf("dropped a packet of %s: no living pod has that address", sender)
	return nfqueue.NfDrop
}
