# title: Perl: hashes, regular expressions, sort, fork, pipes, Storable, signals
# needs: perl
# packages: perl
# version: perl -e 'print "$^V\n"'
# processes: perl
# quick: yes
cat > job.pl <<'END'
use strict; use warnings; use Storable qw(freeze thaw); use List::Util qw(sum); use Digest::MD5 qw(md5_hex);
use Encode; use POSIX qw(:sys_wait_h);
my %seen; my $text = '';
for my $i (1 .. 200_000) { my $k = $i * 7919 % 5003; $seen{"key$k"} .= chr(97 + $i % 26); $text .= "$k,"; }
print scalar(keys %seen), ' ', sum(map { length } values %seen), ' ', md5_hex(join '', map { "$_$seen{$_}" } sort keys %seen), "\n";
my $count = () = $text =~ /(\d)\1,/g; (my $copy = $text) =~ s/(\d+),(\d+)/$2-$1/g;
print "$count ", md5_hex($copy), "\n";
my $deep = thaw(freeze({ list => [map { { n => $_, s => 'x' x ($_ % 100) } } 1 .. 20_000] }));
print scalar(@{ $deep->{list} }), ' ', length(encode('UTF-16', decode('UTF-8', "\xc3\xa9" x 100_000))), "\n";
for my $i (1 .. 8) {
  my $pid = fork() // die; if (!$pid) { my @a = map { $_ * $i } 1 .. 50_000; exit(scalar(@a) / 50_000 + $i) }
  waitpid $pid, 0; print 'child ', WEXITSTATUS($?), "\n";
}
open my $pipe, '-|', 'sort -n | tail -n 1' or die; print <$pipe>; close $pipe;
print md5_hex(`seq 1 20000`), "\n";
eval { die { code => 7 } }; print $@->{code}, "\n";
END
perl job.pl
perl -e 'my @threads = (); local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; eval { my @a; while (1) { push @a, "x" x 100; shift @a if @a > 1000 } }; print $@'
