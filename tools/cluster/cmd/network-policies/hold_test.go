package main

import (
	"context"
	"testing"

	"github.com/florianl/go-nfqueue"
	corev1 "k8s.io/api/core/v1"
)

func TestSenderOfAPacket(t *testing.T) {
	packet := make([]byte, headerLength)
	packet[0] = 0x45
	copy(packet[senderStart:], []byte{172, 28, 0, 9})
	if sender, ok := senderOf(&packet); !ok || sender != "172.28.0.9" {
		t.Errorf("got %q, %v", sender, ok)
	}
	version6 := append([]byte{0x60}, packet[1:]...)
	short := packet[:headerLength-1]
	for name, payload := range map[string]*[]byte{"none": nil, "version 6": &version6, "cut off": &short} {
		if sender, ok := senderOf(payload); ok {
			t.Errorf("%s: got %q", name, sender)
		}
	}
}

func TestAPacketWaitsUntilItsSenderIsKnown(t *testing.T) {
	asked := 0
	known := func(address string) bool {
		asked++
		return address == "172.28.0.9" && asked > 2
	}
	if verdict := await(context.Background(), "172.28.0.9", known); verdict != nfqueue.NfAccept || asked != 3 {
		t.Errorf("got verdict %d after %d questions", verdict, asked)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if verdict := await(ended, "172.28.0.8", known); verdict != nfqueue.NfDrop {
		t.Errorf("got verdict %d for an unknown sender at the end", verdict)
	}
}

func TestFinishedPodsHaveNoAddress(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "172.28.0.9"}}}}
	for phase, expected := range map[corev1.PodPhase]int{corev1.PodPending: 1, corev1.PodRunning: 1, corev1.PodSucceeded: 0, corev1.PodFailed: 0} {
		pod.Status.Phase = phase
		if list, err := addresses(pod); err != nil || len(list) != expected {
			t.Errorf("%s: got %v, %v", phase, list, err)
		}
	}
}
