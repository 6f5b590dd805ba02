/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hog MIB NOISE [PASSES] - fill memory with pages that are known byte for byte, then look at each again.
 *
 * A page starts with NOISE bytes of noise (which no compressor shrinks) and goes on with its own number,
 * repeated. NOISE 1000 makes about 3.7:1 with lz4, 4096 does not compress, "zero" means pages of zeros.
 * Prints "filled" when all are written, waits for a byte or the end of stdin, then prints a line for each
 * pass. Exit status 1: a byte was not what it should be.
 *
 * Its own code and data are locked: the kernel kills nobody as long as it can take one page of them and read
 * it back, which went on for minutes when nothing else could be reclaimed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

static void make_page(uint64_t *page, uint64_t number, size_t noise)
{
	uint64_t x = (number + 1) * 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < WORDS; i++) {
		if (i * 8 < noise) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			page[i] = x;
		} else {
			page[i] = number;
		}
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static uint64_t expected[WORDS];
	int zero = argc > 2 && !strcmp(argv[2], "zero");

	if (argc < 3) {
		fprintf(stderr, "usage: hog MIB NOISE|zero [PASSES]\n");
		return 2;
	}
	size_t pages = strtoul(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
	size_t noise = strtoul(argv[2], NULL, 10);
	int passes = argc > 3 ? atoi(argv[3]) : 1;
	uint64_t wrong = 0;
	double start = now();

	if (mlockall(MCL_CURRENT)) {
		perror("hog: mlockall");
		return 2;
	}
	char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED) {
		perror("hog: mmap");
		return 2;
	}
	for (size_t i = 0; i < pages; i++) {
		if (zero)
			memset(memory + i * PAGE, 0, PAGE);
		else
			make_page((uint64_t *)(memory + i * PAGE), i, noise);
	}
	printf("filled %.2f s\n", now() - start);
	fflush(stdout);
	getchar();

	for (int pass = 1; pass <= passes; pass++) {
		start = now();
		for (size_t i = 0; i < pages; i++) {
			if (!zero)
				make_page(expected, i, noise);
			if (memcmp(memory + i * PAGE, expected, PAGE))
				wrong++;
		}
		printf("pass %d %.2f s wrong %" PRIu64 "\n", pass, now() - start, wrong);
		fflush(stdout);
	}
	return wrong != 0;
}
